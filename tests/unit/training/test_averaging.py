from __future__ import annotations

import pytest
import torch

from goldloop.training.averaging import Average


def test_the_average_follows_the_weights_at_first_and_slows_down_to_its_decay():
    weight, expected = torch.zeros(3), torch.zeros(3)
    average = Average([weight], [], decay=0.9)
    for done in range(1, 200):
        weight += 1
        decay = min(0.9, (1 + done) / (10 + done))
        expected = decay * expected + (1 - decay) * weight
        average.update(done)
    with average.in_place():
        torch.testing.assert_close(weight, expected)
        # Of a line it lies 1 / (1 - decay) steps behind.
        assert weight[0].item() == pytest.approx(199 - 9, abs=0.1)
    assert weight.tolist() == [199.0] * 3


def test_running_means_are_averaged_and_counters_are_not():
    norm = torch.nn.BatchNorm1d(2)
    average = Average(norm.parameters(), norm.buffers(), decay=0.5)
    norm(torch.randn(8, 2) + 5)
    live, counted = norm.running_mean.clone(), norm.num_batches_tracked.item()
    average.update(1)
    with average.in_place():
        torch.testing.assert_close(norm.running_mean, (1 - 2 / 11) * live)
        assert norm.num_batches_tracked.item() == counted
    assert torch.equal(norm.running_mean, live)


def test_the_weights_come_back_to_the_bit_whatever_happens():
    weight = torch.nn.Parameter(torch.randn(100))
    before = weight.detach().clone()
    average = Average([weight], [], decay=0.9)
    with torch.no_grad():
        weight += torch.randn(100) * 1e-3
    live = weight.detach().clone()
    seen = []

    def interrupted() -> None:
        with average.in_place():
            seen.append(weight.detach().clone())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.equal(seen[0], before)
    assert torch.equal(weight, live)
    average.follow()
    with average.in_place():
        assert torch.equal(weight, live)
