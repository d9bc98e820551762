from __future__ import annotations

import re

import pytest

from goldloop.training.profile import PARTS, Operator, Profile

PLAIN = {
    "wait": 0.0,
    "copy": 0.0,
    "forward": 0.4,
    "loss": 0.0,
    "backward": 0.5,
    "clip": 0.02,
    "optimizer": 0.08,
}


def profile(parts=PLAIN, **fields) -> Profile:
    chosen = {
        "first_step": 11,
        "steps": 40,
        "seconds": sum(parts.values()),
        "parts": parts,
        "gather_seconds": 0.01,
        "device": "cpu",
        "device_busy": None,
        "precision": "bf16",
        "compiled": False,
        "useful_token_share": None,
        "operators": (Operator("aten::mm", 12.0, 0.2),),
        **fields,
    }
    return Profile(**chosen)


GPU = {"device": "cuda", "device_busy": 0.98}
CASES = {
    "data": (profile({**PLAIN, "wait": 0.5}, gather_seconds=1.6), r"33% of the time: a batch takes 1\.6 s"),
    "copy": (profile({**PLAIN, "wait": 0.1, "copy": 0.4}, **GPU), "copied to the device"),
    "augmentation": (profile({**PLAIN, "augment": 0.5}), "augmentation and normalization take 33%"),
    "bookkeeping": (profile({**PLAIN, "between": 0.3}), "23% of the time lies between steps"),
    "host": (profile(device="cuda", device_busy=0.4), "stands idle 60%"),
    "optimizer": (profile({**PLAIN, "optimizer": 1.0}), "update of the weights takes 53%"),
    "padding": (profile(useful_token_share=0.4), "60% of its tokens are padding"),
    "compute": (profile(useful_token_share=0.97), "computes 90% of the time"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_bottleneck_is_named_with_its_figures_and_a_remedy(name):
    found, said = CASES[name]
    bottleneck = found.bottleneck()
    assert bottleneck.kind == {"copy": "data"}.get(name, name)

    assert re.search(said, bottleneck.finding)
    assert bottleneck.remedy


def test_data_that_is_gathered_in_time_but_late_points_to_the_processor():
    late = profile({**PLAIN, "wait": 0.5}, gather_seconds=0.01).bottleneck()
    assert late.kind == "data"
    assert "Leave a core free" in late.remedy


@pytest.mark.parametrize(
    ("fields", "said", "unsaid"),
    [
        ({"precision": "no"}, "bf16", "smaller image"),
        ({"precision": "bf16"}, "a GPU", "bf16"),
        ({**GPU, "precision": "bf16"}, "smaller checkpoint", "a GPU"),
    ],
)
def test_only_what_is_not_done_yet_is_advised(fields, said, unsaid):
    remedy = profile(**fields).bottleneck().remedy
    assert said in remedy
    assert unsaid not in remedy


def test_rows_come_in_the_order_of_work_without_what_took_no_time():
    rows = profile({**PLAIN, "wait": 0.5}).rows()
    assert list(rows) == [part for part in PARTS if part in rows]
    assert "loss" not in rows
    assert sum(share for _, _, share in rows.values()) == pytest.approx(1)


def test_it_is_the_same_after_it_was_written(tmp_path):
    assert Profile.read(tmp_path) is None
    profile().write(tmp_path)
    assert Profile.read(tmp_path) == profile()
