"""A version in Croissant, as Croissant's own library reads it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from goldloop.dataset.croissant import croissant
from goldloop.tasks import tasks

PROGRAM = """
import json, sys
import mlcroissant
found = mlcroissant.Dataset(sys.argv[1])
issues = found.metadata.ctx.issues
rows = [
    {name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()}
    for row in found.records(sys.argv[2])
] if len(sys.argv) > 2 else []
told = {"errors": sorted(issues.errors), "warnings": sorted(issues.warnings), "rows": rows}
print(json.dumps(told, default=str))
"""


def validated(folder: Path, facts: dict[str, Any], rows: str | None = None) -> dict[str, Any]:
    """What mlcroissant has against the metadata of a version, and the rows that it reads by them."""
    path = folder / "croissant.json"
    path.write_text(json.dumps(facts))
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(path), *([rows] if rows else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    path.unlink()
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_rows_are_read_by_it(make_texts):
    material = make_texts()
    version = material.commit(message="for the catalog")
    facts = croissant(version)
    found = validated(version.folder, facts, "train-rows")
    assert found["errors"] == []
    # What only people can say: a licence, who to cite, an address.
    assert all("recommended" in warning for warning in found["warnings"])
    expected = {row["key"]: row for row in version.dataset("train")}
    assert len(found["rows"]) == len(expected) > 30
    for row in found["rows"]:
        assert row["train-rows/text"] == expected[row["train-rows/key"]]["text"]
        assert row["train-rows/label"] == expected[row["train-rows/key"]]["label"]
    assert facts["description"].startswith("for the catalog. Labelled items for text-classification")
    assert facts["rai:dataAnnotationPlatform"] == "Label Studio"
    assert facts["rai:dataAnnotationAnalysis"].startswith("Mean agreement 1.000")


@pytest.mark.parametrize("kind", [name for name in tasks.names() if name != "text-classification"])
def test_the_metadata_of_every_kind_of_task_are_valid(make_examples, kind):
    version = make_examples(kind).commit()
    assert validated(version.folder, croissant(version))["errors"] == []


def test_replaced_rows_are_told(make_texts):
    material = make_texts()
    assert "replaced" not in croissant(material.commit())["description"]
    material.labels[3] = replace(material.labels[3], target="no")
    assert "1 rows of the files were replaced" in croissant(material.commit())["description"]
