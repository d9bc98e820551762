from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.errors import TrainingError
from goldloop.training.profile import Operator, Profile
from goldloop.training.run import train
from goldloop.training.run_report import EXPLAINED, duration, figure, page, portions, write_report
from goldloop.training.throughput import Throughput

NASTY = '"><script>alert(1)</script>'


class Reader(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data.strip())

    def named(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def run(tmp_path_factory, texts):
    """A real run, profiled, that was stopped early."""
    folder = tmp_path_factory.mktemp("report")
    config = texts.config(
        epochs=30, learning_rate=1e-9, early_stopping={"patience": 12}, precision="no", evaluate_every=5
    )
    facts = {"name": "mail", "version": "mail@0123"}
    return train(texts.task, config, texts.splits(), folder / "run", folder / "cache", facts, profile=True)


def changed(folder, tmp_path, change, name="run.json"):
    """A copy of a run's folder whose record was changed."""
    for file in ("run.json", "metrics.jsonl"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    if name == "run.json":
        record = json.loads((tmp_path / name).read_text())
        change(record)
        (tmp_path / name).write_text(json.dumps(record))
    return tmp_path


def test_a_run_leaves_a_page_behind(run):
    assert run.report.exists()
    found = Reader(run.report.read_text())
    words = " ".join(found.words)
    for told in (
        "mail@0123",
        "stopped early",
        f"{run.value:.4f}",
        "bert, from scratch",
        "learning_rate",
        "torch",
    ):
        assert told in words
    for heading in ("Learning", "Where the time went", "Where a step's time goes", "Speed", "What made it"):
        assert heading in found.words


def test_every_drawing_is_named_and_has_units(run):
    found = Reader(run.report.read_text())
    drawings = found.named("svg")
    assert len(drawings) >= 4
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in drawings)
    assert {"step", "loss", "samples/s"} <= set(found.words)


def test_the_page_loads_nothing_from_elsewhere(run):
    text = run.report.read_text()
    assert not re.search(r"https?://", text)
    found = Reader(text)
    assert not found.named("script")
    assert not found.named("link")
    assert not [tag for tag, attributes in found.tags if attributes.keys() & {"src", "href"}]


def test_whatever_comes_from_names_is_shown_and_never_obeyed(run, tmp_path):
    def change(record):
        record["facts"]["name"] = NASTY
        record["notes"] = [NASTY]
        record["training"]["checkpoint"] = NASTY
        record["hardware"]["device"] = NASTY

    folder = changed(run.folder, tmp_path, change)
    line = {"step": 5, "epoch": 1, "metrics": {NASTY: 0.5}, "best": False}
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps({**line, "step": step}) + "\n" for step in (5, 10))
    found = Reader(page(folder))
    assert not found.named("script")
    assert " ".join(found.words).count(NASTY) >= 4


def test_a_run_without_validation_speed_or_notes_has_a_page_too(run, tmp_path):
    def change(record):
        record["run"] |= {"value": None, "throughput": None, "spent": {}, "chosen": "last"}
        del record["notes"]

    folder = changed(run.folder, tmp_path, change)
    (folder / "metrics.jsonl").unlink()
    words = " ".join(Reader(page(folder)).words)
    assert "no validation split" in words
    assert "Where the time went" not in words


def test_live_figures_become_curves(run, tmp_path):
    folder = changed(run.folder, tmp_path, lambda record: None)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    speed = {
        "samples_per_second": 90.0,
        "tokens_per_second": 900.0,
        "padded_tokens_per_second": 1000.0,
        "useful_token_share": 0.9,
        "data_wait_share": 0.01,
        "peak_memory_bytes": 2_000_000_000,
    }
    for line in lines:
        if "loss" in line:
            line["speed"] = speed
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    labels = [drawing["aria-label"] for drawing in Reader(page(folder)).named("svg")]
    for title in ("Tokens. real: from 900 to 900", "Useful tokens", "Waiting for data", "highest 2"):
        assert any(title in label for label in labels)


def test_every_figure_of_the_throughput_is_explained():
    fields = [field.name for field in dataclasses.fields(Throughput)]
    assert fields
    assert [name for name in fields if name not in EXPLAINED] == []


def test_the_time_of_a_session_is_all_accounted_for(run):
    record = json.loads((run.folder / "run.json").read_text())["run"]
    found = portions(record)
    assert sum(one.share for one in found) == pytest.approx(1)
    assert {"preparation", "compute", "evaluation", "checkpoints"} <= {one.part for one in found}
    assert sum(one.seconds for one in found) == pytest.approx(record["spent"]["whole"], rel=0.05)


def test_a_run_whose_time_was_not_written_down_has_no_bar():
    assert portions({"throughput": None, "spent": {"whole": 3.0}}) == []
    assert portions({"throughput": {"seconds": 1.0}}) == []


def test_a_run_that_was_killed_before_its_page_was_written_gets_it(images, tmp_path):
    def once():
        facts = {"name": "tiny"}
        return train(
            images.task, images.config(), images.splits(), tmp_path / "run", tmp_path / "cache", facts
        )

    first = once()
    first.report.unlink()
    assert once().report.exists()


def test_a_run_that_is_not_finished_has_no_page(tmp_path):
    with pytest.raises(TrainingError, match="goldloop train"):
        write_report(tmp_path)


def test_a_profile_of_a_gpu_tells_how_busy_it_was(run, tmp_path):
    folder = changed(run.folder, tmp_path, lambda record: None)
    Profile(
        first_step=11,
        steps=40,
        seconds=0.02,
        parts={"forward": 0.01, "backward": 0.01},
        gather_seconds=0.001,
        device="cuda",
        device_busy=0.42,
        precision="bf16",
        compiled=False,
        useful_token_share=None,
        operators=(Operator("gemm", 3.0, 0.01),),
    ).write(folder)
    words = " ".join(Reader(page(folder)).words)
    assert "The GPU computed 42% of the time" in words
    assert "gemm" in words


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("data_wait_share", 0.0123, "1.2%"),
        ("peak_memory_bytes", 1_500_000_000, "1.50 GB"),
        ("step_p50", 0.0042, "4.2 ms"),
        ("samples_per_second", 1234.5, "1,234"),
        ("samples_per_second", 12.345, "12.35"),
        ("warmup_seconds", 75.0, "1 min 15 s"),
        ("steps", 12_345, "12,345"),
    ],
)
def test_figures_have_units(name, value, text):
    assert figure(name, value) == text


@settings(deadline=None, max_examples=100)
@given(st.floats(0, 1e7))
def test_durations_are_short_and_never_sixty_of_a_unit(seconds):
    text = duration(seconds)
    assert len(text) <= 14
    assert not re.search(r"\b60(\.0)? (s|min)\b", text)
