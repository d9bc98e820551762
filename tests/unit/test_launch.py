"""`accelerate launch scripts/train.py RECIPE` with every file of `configs/accelerate`."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from goldloop import loop
from goldloop.recipe import load
from goldloop.settings import Settings
from goldloop.workspace import Workspace

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
ACCELERATE = ROOT / "configs" / "accelerate"
CONFIGS = sorted(path.stem for path in ACCELERATE.glob("*.yaml"))
NETWORK = {
    "model_type": "bert",
    "vocab_size": 300,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
WORDS = {"greeting": "hello dear friend", "weather": "rain and wind again"}


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A recipe whose labels were imported, and a workspace with a version of them."""
    folder = tmp_path_factory.mktemp("launch")
    with (folder / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "intent"])
        for number in range(40):
            intent = ("greeting", "weather")[number % 2]
            writer.writerow([f"{WORDS[intent]} {number}", intent])
    recipe = folder / "recipe.yaml"
    training = {
        "checkpoint": {"from-config": NETWORK},
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 5e-3,
        "precision": "no",
        "max_length": 16,
    }
    recipe.write_text(
        yaml.safe_dump(
            {
                "name": "talk",
                "sources": [
                    {
                        "kind": "table",
                        "url": str(folder / "texts.csv"),
                        "text": "text",
                        "label": {"from": "intent", "use": "imported"},
                    }
                ],
                "task": {"kind": "text-classification", "classes": ["greeting", "weather"]},
                "training": training,
            }
        )
    )
    workspace = Workspace(folder / "state", Settings())
    loop.pull(load(recipe), workspace)
    loop.commit(load(recipe), workspace)
    workspace.engine.dispose()
    return recipe, folder / "state"


def launched(committed, *arguments, overrides=()):
    """What the command prints, and the record of the run that it made."""
    recipe, home = committed
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", *arguments]
    if "--config_file" in arguments:
        command += ["--main_process_port", str(port)]
    environment = {
        **os.environ,
        "GOLDLOOP_HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "ACCELERATE_USE_CPU": "true",
    }
    done = subprocess.run(
        [*command, str(ROOT / "scripts" / "train.py"), str(recipe), *overrides],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = Path(done.stdout.strip().splitlines()[-1].partition(": ")[0])
    return done.stdout, folder, json.loads((folder / "run.json").read_text())


@pytest.mark.timeout(600)
def test_two_processes_train_what_one_does(committed):
    _, one, alone = launched(committed, "--cpu", "--num_processes", "1", overrides=["training.seed=1"])
    told, two, both = launched(
        committed,
        "--config_file",
        str(ACCELERATE / "many-gpus.yaml"),
        "--num_processes",
        "2",
        overrides=["training.seed=1", "training.evaluate_every=1000000"],
    )
    assert told.count("validation accuracy") == 1, "the main process alone prints"
    assert (alone["hardware"]["processes"], both["hardware"]["processes"]) == (1, 2)
    assert both["run"]["steps"] == alone["run"]["steps"]
    losses = [
        [
            json.loads(line)["loss"]
            for line in (folder / "metrics.jsonl").read_text().splitlines()
            if "loss" in json.loads(line)
        ]
        for folder in (one, two)
    ]
    assert losses[1][-1] == pytest.approx(losses[0][-1], rel=1e-2)
    weights = [load_file(folder / "model" / "model.safetensors") for folder in (one, two)]
    assert weights[0].keys() == weights[1].keys()


@pytest.mark.timeout(600)
def test_a_network_in_shards_is_saved_whole(committed):
    _, folder, record = launched(
        committed,
        "--config_file",
        str(ACCELERATE / "fsdp2.yaml"),
        "--num_processes",
        "2",
        overrides=["training.seed=2"],
    )
    assert record["hardware"]["processes"] == 2
    weights = load_file(folder / "model" / "model.safetensors")
    assert weights["bert.encoder.layer.0.attention.self.query.weight"].shape == (16, 16)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_is_one_that_accelerate_reads(name):
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

    config = load_config_from_file(str(ACCELERATE / f"{name}.yaml"))
    assert isinstance(config, ClusterConfig)
    assert config.mixed_precision == "no", "the recipe decides the precision"
    assert config.use_cpu == (name == "cpu")
    assert (config.num_processes > 1) == (name in ("many-gpus", "many-nodes", "fsdp2"))
    assert (config.num_machines > 1) == (name == "many-nodes")
    assert bool(config.fsdp_config) == (name == "fsdp2")


def test_there_is_a_configuration_for_each_place():
    assert CONFIGS == ["cpu", "fsdp2", "many-gpus", "many-nodes", "one-gpu"]
