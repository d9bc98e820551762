"""Requests are kept only where the sender agrees and the recipe asks for some, within a day's quota."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from goldloop.records import content_key
from goldloop.serving.config import ServingConfig
from goldloop.serving.metrics import Metrics
from goldloop.serving.samples import HEADER, Samples

KEEP = {HEADER: "yes"}


class _Served:
    """A model's name and settings: all that sampling looks at."""

    def __init__(self, **settings: object) -> None:
        self.name = "pets"
        self.config = ServingConfig.model_validate(settings)


def _kept(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in folder.glob("pets/*/*.text")}


def _asked(folder: Path, served: _Served, texts: list[str], headers: dict[str, str] = KEEP) -> Metrics:
    metrics = Metrics()
    samples = Samples(folder, lambda kind, name: None, metrics)
    samples.offer(headers, served, texts, [None] * len(texts))  # type: ignore[arg-type,list-item]
    samples.close()
    return metrics


@pytest.mark.parametrize("headers", [{}, {HEADER: "no"}, {HEADER: "1"}, {"X-Keep": "yes"}], ids=str)
def test_without_consent_nothing_is_kept(serving, tmp_path, headers):
    with serving("text-classification", keep_in=tmp_path, sample={"per_day": 5}) as client:
        assert client.post("/predict", json={"text": "hello"}, headers=headers).status_code == 200
    assert list(tmp_path.rglob("*")) == []


def test_by_default_nothing_is_kept_whatever_the_sender_says(serving, tmp_path):
    with serving("text-classification", keep_in=tmp_path) as client:
        assert client.post("/predict", json={"text": "hello"}, headers=KEEP).status_code == 200
    assert list(tmp_path.rglob("*")) == []


def test_what_is_kept_is_what_was_asked_about(serving, tmp_path):
    hints: list[tuple[str, str]] = []
    texts = ["hello", "zürich\r\n  ", "hello"]
    hint = lambda kind, name: hints.append((kind, name))  # noqa: E731
    with serving("text-classification", keep_in=tmp_path, hint=hint, sample={"per_day": 5}) as client:
        answer = client.post("/predict", json={"texts": texts}, headers={"x-goldloop-keep": "YES"})
        assert answer.status_code == 200
        client.samples.close()
        figures = client.metrics.text().decode()
    day = datetime.now(UTC).date().isoformat()
    files = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.text")}
    assert files == {f"pets/{day}/{content_key(text.encode())}.text": text.encode() for text in texts}
    assert 'goldloop_samples_total{name="pets",outcome="kept"} 2.0' in figures
    assert set(hints) == {("pull", "pets")}


def test_images_are_kept_as_they_came_and_broken_ones_are_not(serving, tmp_path):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(buffer, format="PNG")
    files = [("image", buffer.getvalue()), ("image", b"no image")]
    with serving("image-classification", keep_in=tmp_path, sample={"per_day": 5}) as client:
        assert client.post("/predict", files=files, headers=KEEP).status_code == 200
    (path,) = tmp_path.rglob("*.image")
    assert path.read_bytes() == buffer.getvalue()


def test_a_quota_holds_for_a_day_whatever_is_restarted(tmp_path):
    served = _Served(sample={"per_day": 3})
    for start in (0, 2, 4):
        metrics = _asked(tmp_path, served, [f"text {start + number}" for number in range(2)])
    assert len(_kept(tmp_path)) == 3
    assert 'outcome="over-quota"} 2.0' in metrics.text().decode()


def test_of_a_share_about_so_many_are_kept(tmp_path):
    _asked(tmp_path, _Served(sample={"per_day": 1000, "share": 0.25}), [f"text {n}" for n in range(200)])
    assert 20 <= len(_kept(tmp_path)) <= 85


def test_jobs_are_hinted_at_now_and_then_and_at_the_end(tmp_path):
    hints: list[str] = []
    samples = Samples(tmp_path, lambda kind, name: hints.append(name), Metrics(), every=3600)
    for number in range(20):
        samples.offer(KEEP, _Served(sample={"per_day": 100}), [f"text {number}"], [None])  # type: ignore[arg-type,list-item]
    samples.close()
    assert hints == ["pets", "pets"]


def test_a_disk_that_is_full_fails_nothing_but_the_sample(tmp_path):
    (tmp_path / "pets").write_text("no folder")
    metrics = _asked(tmp_path, _Served(sample={"per_day": 3}), ["hello"])
    assert 'outcome="failed"} 1.0' in metrics.text().decode()
