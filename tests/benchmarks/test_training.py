"""The training benchmark's own mechanisms, on a network of a few thousand weights: never how fast it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
BENCHMARK = ROOT / "benchmarks" / "training"
DATA = ROOT.parent / "shared" / "data"
ARMS = ("trainer-defaults", "trainer-tuned", "plain", "goldloop")
EXAMPLES, EPOCHS = 96, 1

TEXT = {
    "title": "banking77, a tiny BERT",
    "model": {
        "model_type": "bert",
        "vocab_size": 600,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
    "settings": {"max_length": 64},
    "data": {"source": "banking77"},
    "batch_size": 16,
    "layers": ["end-to-end", "data", "checkpoint", "learning"],
    "target": 0.0,
    "looks": 2,
    "sizes": {
        "small": {
            "examples": 2 * EXAMPLES,
            "held_out": 32,
            "epochs": EPOCHS,
            "warmup_steps": 1,
            "repeats": 1,
            "of": {"end-to-end": {"steps": EXAMPLES // 16}},
        }
    },
    "arms": {"trainer-tuned": {"train_sampling_strategy": "group_by_length"}},
}
IMAGES = {
    "title": "JPEGs, a tiny ResNet",
    "model": {
        "model_type": "resnet",
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "layer_type": "basic",
    },
    "settings": {"image_size": 32},
    "data": {"source": "noise", "width": 64, "height": 48},
    "batch_size": 16,
    "layers": ["end-to-end", "data"],
    "sizes": {
        "small": {"examples": EXAMPLES, "files": EXAMPLES, "epochs": EPOCHS, "warmup_steps": 1, "repeats": 1}
    },
    "arms": {
        "goldloop": {"augment": False},
        "trainer-tuned": {"dataloader_num_workers": 0, "dataloader_persistent_workers": False},
        "plain": {"workers": 0},
    },
}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The benchmark's command, with cases of its own, in a process of its own."""
    command = [sys.executable, str(BENCHMARK / "run.py"), *arguments, "--cases", str(folder / "cases")]
    places = ["--out", str(folder / "results"), "--work", str(folder / "work"), "--date", "2000-01-01"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [*command, *places], capture_output=True, text=True, check=False, env=environment, timeout=1500
    )


def measured(folder: Path, case: dict[str, object], *arguments: str) -> tuple[list[dict[str, object]], str]:
    """The lines and the table that a small run on the CPU writes."""
    (folder / "cases" / "cpu").mkdir(parents=True, exist_ok=True)
    (folder / "cases" / "cpu" / "tiny.yaml").write_text(yaml.safe_dump(case), encoding="utf-8")
    done = run(folder, "cpu", "--threads", "1", "--data", str(DATA), *arguments)
    assert done.returncode == 0, done.stderr
    results = folder / "results"
    lines = (results / "2000-01-01-cpu-small.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert not [line["error"] for line in found if "error" in line]
    return found, (results / "2000-01-01-cpu-small.md").read_text(encoding="utf-8")


def of(lines: list[dict[str, object]], layer: str) -> dict[str, dict[str, object]]:
    """The lines of a layer by arm, all four of them."""
    found = {str(line["arm"]): line for line in lines if line["layer"] == layer and line["arm"] != "limits"}
    assert set(found) == set(ARMS)
    return found


@pytest.mark.skipif(not DATA.is_dir(), reason="shared/data is not beside the repository")
@pytest.mark.timeout(1600)
def test_all_arms_train_on_the_same_texts_from_the_same_weights(tmp_path: Path) -> None:
    lines, table = measured(tmp_path, TEXT)
    whole = of(lines, "end-to-end")
    losses = [line["first_loss"] for line in whole.values()]
    assert losses == pytest.approx([losses[0]] * len(ARMS), abs=1e-5)
    assert {line["examples_in_all"] for line in whole.values()} == {EXAMPLES * EPOCHS}
    assert whole["goldloop"]["syncs_per_step"] == 0
    assert {line["recompiles_after_warmup"] for line in whole.values()} == {0}

    saved = of(lines, "checkpoint")
    assert {line["checkpoints"] for line in saved.values()} <= {1, 2}
    assert all(float(str(line["checkpoint_stall"])) > 0 for line in saved.values())
    for line in of(lines, "learning").values():
        assert line["examples_in_all"] == 2 * EXAMPLES * EPOCHS
        assert 0 <= float(str(line["accuracy"])) <= 1
        (first, _), (last, _) = line["seen"]
        assert line["seconds_to_target"] == first < last

    share = {arm: float(str(line["useful_token_share"])) for arm, line in of(lines, "data").items()}
    assert share["trainer-defaults"] < share["trainer-tuned"] < 1.0 + 1e-9
    assert share["trainer-defaults"] < share["goldloop"] < 1.0 + 1e-9

    assert all(table.count(f"| {arm} | 1 |") == 4 for arm in ARMS)
    assert "End to end: 6 steps; the target is an accuracy of 0.0." in table
    assert "not yet measured" not in table
    assert (tmp_path / "results" / "2000-01-01-cpu-small-tiny.svg").is_file()

    again, _ = measured(tmp_path, TEXT)
    assert again == lines, "a second run measures what is missing, which is nothing"


@pytest.mark.timeout(1600)
def test_images_reach_goldloop_as_whole_uint8_batches_and_the_others_as_floats(tmp_path: Path) -> None:
    lines, _ = measured(tmp_path, IMAGES)
    drained = of(lines, "data")
    assert {arm: line["batch_dtype"] for arm, line in drained.items()} == {
        "trainer-defaults": "float32",
        "trainer-tuned": "float32",
        "plain": "float32",
        "goldloop": "uint8",
    }
    assert {line["examples"] for line in drained.values()} == {EXAMPLES}
    losses = [line["first_loss"] for line in of(lines, "end-to-end").values()]
    assert losses == pytest.approx([losses[0]] * len(ARMS), abs=1e-5)


@pytest.mark.skipif(not DATA.is_dir(), reason="shared/data is not beside the repository")
def test_when_its_minutes_are_over_it_ends_and_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "cases" / "cpu").mkdir(parents=True)
    (tmp_path / "cases" / "cpu" / "tiny.yaml").write_text(yaml.safe_dump(TEXT), encoding="utf-8")
    done = run(tmp_path, "cpu", "--minutes", "0", "--data", str(DATA))
    assert done.returncode == 0, done.stderr
    assert "17 of 17 measurements to make" in done.stdout
    assert "minutes are over" in done.stdout
    assert not (tmp_path / "results" / "2000-01-01-cpu-small.jsonl").exists()


def test_without_a_gpu_its_table_says_that_nothing_has_been_measured(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARK / "run.py"), "gpu", "--out", str(tmp_path), "--date", "2000-01-01"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "2000-01-01-gpu-full.md").read_text(encoding="utf-8")
    cases = sorted((BENCHMARK / "cases" / "gpu").glob("*.yaml"))
    assert len(cases) >= 4
    for case in cases:
        assert f"## {yaml.safe_load(case.read_text(encoding='utf-8'))['title']}" in table
    assert "trainer-defaults, trainer-tuned, plain, goldloop: not yet measured." in table
    assert "pairs)" not in table, "no ratio without measurements"
