"""Faults planted on purpose: each is refused, by a commit and by whoever uses the version, and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from goldloop.dataset.certificate import CERTIFICATE, require, sign, signer_of, verify
from goldloop.dataset.signing import SigningKey, new_key
from goldloop.dataset.targets import Judged
from goldloop.dataset.version import Version
from goldloop.errors import AnnotationError, CertificateError


def plant(material: Any, change: Callable[[Any], Any]) -> str:
    """Change the first answer that has something in it; returns its key."""
    place = next(place for place, label in enumerate(material.labels) if label.target)
    label = material.labels[place]
    material.labels[place] = replace(label, target=change(json.loads(json.dumps(label.target))))
    return label.key


def shifted(target: list[dict[str, Any]], **by: float) -> list[dict[str, Any]]:
    first = {**target[0], **{name: target[0][name] + value for name, value in by.items()}}
    return [first, *target[1:]]


def outlined(target: dict[str, Any]) -> dict[str, Any]:
    outside = {"label": target["objects"][0]["label"], "polygon": [[0.0, 0.0], [90.0, 0.0], [9.0, 9.0]]}
    return {**target, "objects": [outside]}


PLANTED = {
    "a box outside": ("object-detection", lambda target: shifted(target, x=400.0), "sticks out of the image"),
    "a polygon outside": ("instance-segmentation", outlined, "a corner of a polygon is outside"),
    "masks of another image": (
        "semantic-segmentation", lambda target: {**target, "width": target["width"] + 1}, "of another size",
    ),
    "a span off by one": (
        "token-classification", lambda target: shifted(target, start=1, end=1), "is not what stands there",
    ),
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_a_commit_refuses_it_and_names_the_item(make_examples, planted):
    kind, change, problem = PLANTED[planted]
    material = make_examples(kind)
    key = plant(material, change)
    with pytest.raises(CertificateError, match=rf"(?s)row {key}: its label does not fit.*{problem}"):
        material.commit()
    assert list(material.versions.iterdir()) == []


@pytest.mark.parametrize("planted", PLANTED)
def test_a_version_that_has_it_all_the_same_is_refused_and_names_the_item(
    make_examples, planted, monkeypatch
):
    kind, change, problem = PLANTED[planted]
    material = make_examples(kind)
    key = plant(material, change)
    with monkeypatch.context() as careless:
        careless.setattr("goldloop.dataset.read_back.judge", lambda *_: Judged())
        version = material.commit()
    with pytest.raises(CertificateError, match=rf"(?s)row {key}: its label does not fit.*{problem}"):
        require(version.folder)
    assert len(verify(version.folder)) == 1


def test_a_class_that_is_none_never_gets_into_a_version(make_examples):
    material = make_examples("object-detection")
    key = plant(material, lambda target: [{**target[0], "label": "nobody"}])
    with pytest.raises(AnnotationError, match=r"unknown class.*'nobody'"):
        material.commit()
    assert not material.versions.exists() or list(material.versions.iterdir()) == []
    assert key


@pytest.fixture
def version(make_texts) -> Version:
    return make_texts().commit()


@pytest.fixture
def key(tmp_path) -> SigningKey:
    return new_key(tmp_path / "key.pem")


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / CERTIFICATE
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_version_is_signed_once_and_proves_who_vouches_for_it(version, key):
    assert signer_of(version.folder) is None
    assert sign(version.folder, key)
    assert not sign(version.folder, key)
    assert signer_of(version.folder) == key.public
    assert verify(version.folder) == []
    require(version.folder, {key.public})


def test_an_unsigned_version_is_refused_where_somebody_must_vouch(version, key):
    require(version.folder)
    with pytest.raises(CertificateError, match=r"nobody trusted vouches.*is not signed.*goldloop sign"):
        require(version.folder, {key.public})


def test_a_version_signed_by_somebody_else_is_refused(version, key, tmp_path):
    sign(version.folder, new_key(tmp_path / "other.pem"))
    require(version.folder)
    with pytest.raises(CertificateError, match="not among the trusted ones"):
        require(version.folder, {key.public})


def forge_value(content: dict[str, Any]) -> None:
    value = content["signature"]["value"]
    content["signature"]["value"] = value[:-6] + ("A" if value[-6] != "A" else "B") + value[-5:]


def forge_key(content: dict[str, Any]) -> None:
    content["signature"]["key"] = "ed25519:" + "A" * 43 + "="


@pytest.mark.parametrize(
    "forge",
    [
        forge_value,
        forge_key,
        lambda content: content.update(signature="signed"),
        lambda content: content.update(signature={"key": None}),
    ],
)
@pytest.mark.parametrize("trusting", [True, False])
def test_a_wrong_signature_is_refused_whoever_is_trusted(version, key, forge, trusting):
    sign(version.folder, key)
    edit(version.folder, forge)
    with pytest.raises(CertificateError, match="has a wrong signature"):
        require(version.folder, {key.public} if trusting else ())
    assert signer_of(version.folder) is None


def test_a_certificate_that_was_edited_and_sealed_again_does_not_keep_its_signature(version, key):
    from goldloop.dataset.certificate import _seal

    sign(version.folder, key)

    def whitewash(content: dict[str, Any]) -> None:
        signature = content.pop("signature")
        del content["seal"]
        content["annotators"] = {"ann-1": 58}
        content.update(seal=_seal(content), signature=signature)

    edit(version.folder, whitewash)
    with pytest.raises(CertificateError, match="has a wrong signature"):
        require(version.folder)


def test_signing_keeps_what_was_certified(version, key):
    before = json.loads((version.folder / CERTIFICATE).read_text())
    sign(version.folder, key)
    after = json.loads((version.folder / CERTIFICATE).read_text())
    assert after.pop("signature")["algorithm"] == "Ed25519"
    assert after == before


def test_what_has_no_certificate_is_not_signed(version, key):
    (version.folder / CERTIFICATE).unlink()
    with pytest.raises(CertificateError, match="is missing"):
        sign(version.folder, key)


def test_the_certificate_tells_code_recipe_and_what_annotators_were_shown(make_examples):
    from goldloop.source_digest import source_digest

    material = make_examples("object-detection")
    content = json.loads((material.commit().folder / CERTIFICATE).read_text())
    assert content["source_digest"] == source_digest()
    assert len(source_digest()) == 64
    assert content["recipe_digest"] == "0" * 64
    assert content["shown"] == {"interface": material.task.label_config(), "instructions": None}
    names = {check["name"]: check for check in content["checks"]}
    assert names["the rows that were read back have the digest of the labels"]["count"] == len(
        material.labels
    )
    assert names["every label fits its item: places inside, quotes equal"]["passed"]
