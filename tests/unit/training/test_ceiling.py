from __future__ import annotations

import torch

from goldloop.training.ceiling import copy_rate, product_rate


def test_measuring_draws_none_of_a_run_s_random_numbers():
    before = torch.get_rng_state()
    assert product_rate(torch.device("cpu"), torch.float32, seconds=0.0) > 0
    assert copy_rate(torch.device("cpu"), seconds=0.0) > 0
    assert torch.equal(torch.get_rng_state(), before)
