"""The serving benchmark's own mechanisms, on a network of a few thousand weights: never how fast it is."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
BENCHMARK = ROOT / "benchmarks" / "serving"
DATA = ROOT.parent / "shared" / "data"
TINY = {
    "from-config": {
        "model_type": "bert",
        "vocab_size": 400,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
}


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmarks_serving_{name}", BENCHMARK / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not here")
def test_arms_answer_alike_are_measured_once_and_a_soak_and_a_swap_have_no_failed_request(tmp_path: Path):
    command = [sys.executable, str(BENCHMARK / "run.py"), "--arms", "goldloop", "plain"]
    command += ["goldloop-label-studio", "--clients", "1", "4", "--seconds", "1", "--warm-up", "0.2"]
    command += ["--repeats", "1", "--soak-minutes", "0.1", "--swap-seconds", "20", "--labelled", "200"]
    command += ["--checkpoint", json.dumps(TINY), "--date", "day", "--out", str(tmp_path / "results")]
    command += ["--work", str(tmp_path / "work"), "--data", str(DATA)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "results" / "day.jsonl").read_text().splitlines()]
    loads = [line for line in lines if line["kind"] == "load"]
    assert {(line["arm"], line["clients"]) for line in loads} == {
        (arm, clients) for arm in ("goldloop", "plain", "goldloop-label-studio") for clients in (1, 4)
    }
    assert all(line["answers"] and not line["errors"] for line in lines)
    (swap,) = (line for line in lines if line["kind"] == "swap")
    assert swap["swaps"] >= 2
    assert set(swap["models"]) == {"banking/1", "banking/2"}
    table = (tmp_path / "results" / "day.md").read_text()
    assert "| label-studio-ml | not yet measured |" in table
    assert "0 failed requests" in table
    again = subprocess.run([*command, "--report-only"], capture_output=True, text=True, env=environment)
    assert again.returncode == 0
    assert len((tmp_path / "results" / "day.jsonl").read_text().splitlines()) == len(lines)


def test_clients_count_answers_errors_and_what_a_server_closes():
    load = module("load")

    async def measured() -> dict[str, object]:
        seen = 0

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal seen
            while head := await reader.read(1000):
                assert head.startswith(b"POST /")
                seen += 1
                status = b"200 OK" if seen % 4 else b"429 Too Many Requests"
                # Every tenth is the last of its connection.
                close = b"Connection: close\r\n" if seen % 10 == 0 else b""
                body = b'{"model":"a/1"}'
                writer.write(
                    b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, close, len(body), body)
                )
                if close:
                    break
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        requests = load.unpack(load.pack([b"POST /a HTTP/1.1\r\n\r\n", b"POST /b HTTP/1.1\r\n\r\n"]))
        found = await load.load("127.0.0.1", port, requests, 2, 0.0, 0.5)
        server.close()
        return found

    found = asyncio.run(measured())
    answers, errors = len(found["latencies"]), found["errors"]
    assert answers == found["models"]["a/1"] > 0
    assert set(errors) == {"429"}
    assert answers > errors["429"]
