"""Steps that do not fit. What fails is an allocation that no machine can make, where a network is asked."""

from __future__ import annotations

import numpy
import pytest
import torch

from goldloop.errors import OutOfMemory, TrainingError
from goldloop.tasks._torchvision_detectors import Detector, DetectorConfig
from goldloop.training.engine import Engine
from goldloop.training.memory import Load, is_out_of_memory, load_of, recompute

STILL = {"augment": False, "epochs": 3}


def limit(one: Engine, most: int, from_step: int = 0) -> list[int]:
    """Let an allocation fail from a step on for more examples than that; returns how many each call had."""
    asked: list[int] = []

    def refuse(module, args, inputs):
        examples = len(next(iter(inputs.values())))
        asked.append(examples)
        if examples > most and one.done >= from_step and module.training:
            torch.empty(2**60)

    one.model.network.register_forward_pre_hook(refuse, with_kwargs=True)
    return asked


def weights(one: Engine) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in one.model.network.state_dict().items()}


def trained(one: Engine) -> tuple[list[float], dict[str, torch.Tensor]]:
    return [step.loss.item() for step in one.steps()], weights(one)


def close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, value in other.items():
        # A key's bias has no gradient but rounding (softmax cancels it), which AdamW makes large.
        if not name.endswith(("key.bias", "k_proj.bias")):
            torch.testing.assert_close(one[name], value, rtol=1e-3, atol=1e-4)


def test_a_batch_that_does_not_fit_is_worked_on_in_as_few_parts_as_fit(images, make_engine):
    whole, expected = trained(make_engine(images, **STILL))
    small = make_engine(images, **STILL)
    asked = limit(small, 2)
    losses, found = trained(small)
    assert asked[:3] == [6, 3, 2]
    assert max(asked[2:]) == 2
    assert small.accumulation == 4
    assert losses == pytest.approx(whole, rel=1e-4)
    close(found, expected)


def test_from_then_on_it_is_a_run_with_that_many_parts_to_the_bit(texts, make_engine):
    # With dropout, whose draws depend on the parts: what the failed attempts drew is drawn again.
    expected = trained(make_engine(texts, gradient_accumulation=2))
    small = make_engine(texts)
    limit(small, 4)
    losses, found = trained(small)
    assert losses == expected[0]
    assert all(torch.equal(found[name], value) for name, value in expected[1].items())


def test_memory_that_runs_out_amid_a_run_costs_nothing(texts, make_engine):
    whole = [(step.number, step.keys) for step in make_engine(texts).steps()]
    small = make_engine(texts)
    limit(small, 4, from_step=3)
    taken = []
    for step in small.steps():
        taken.append((step.number, step.keys))
        assert small.accumulation == (1 if step.number <= 3 else 2)
    assert taken == whole


def test_running_means_are_those_of_the_step_that_fitted(convolutions, make_engine):
    fields = {**STILL, "image_size": 32}
    expected = trained(make_engine(convolutions, **fields, gradient_accumulation=2))[1]
    small = make_engine(convolutions, **fields)
    # The first part goes through; the second fails behind some norms.
    calls = []

    def refuse(module, inputs):
        calls.append(len(inputs[0]))
        if len(inputs[0]) > 4:
            torch.empty(2**60)

    small.model.network.resnet.encoder.stages[2].register_forward_pre_hook(refuse)
    found = trained(small)[1]
    assert calls[0] > 4
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_single_example_that_does_not_fit_is_an_error_with_a_remedy(images, make_engine):
    small = make_engine(images, **STILL)
    limit(small, 0)
    with pytest.raises(OutOfMemory, match=r"found 1 example at once.*gradient_checkpointing"):
        trained(small)


def test_parts_that_the_recipe_sets_are_kept(images, make_engine):
    small = make_engine(images, **STILL, gradient_accumulation=2)
    limit(small, 2)
    with pytest.raises(OutOfMemory, match=r"found 3 examples at once.*gradient_accumulation: auto"):
        trained(small)


def test_other_errors_are_not_taken_for_a_lack_of_memory(images, make_engine):
    one = make_engine(images, **STILL)

    def fail(module, args):
        raise RuntimeError("shapes do not fit")

    one.model.network.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        next(one.steps())
    assert one.accumulation == 1


def test_what_allocators_say_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_what_a_step_holds_is_its_largest_slice():
    slices = [numpy.array([0, 1]), numpy.array([2]), numpy.array([], dtype=int)]
    assert load_of(None, slices) == Load(2, 2)
    assert load_of(numpy.array([3, 4, 9]), slices) == Load(2, 9)
    assert load_of(numpy.array([3, 5, 9]), slices) == Load(2, 10)
    assert load_of(numpy.array([3, 5, 9]), slices, packed=True) == Load(2, 9)


@pytest.mark.parametrize("kind", ["images", "texts", "answers"])
def test_what_is_computed_twice_is_the_same_to_the_bit(kind, make_engine, request):
    material = request.getfixturevalue(kind)
    fields = {"lora": {"rank": 2}} if kind == "answers" else {}
    plain, expected = trained(make_engine(material, **fields))
    saving = make_engine(material, gradient_checkpointing=True, **fields)
    losses, found = trained(saving)
    assert losses == plain
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_layers_are_computed_twice_indeed(texts, make_engine):
    one = make_engine(texts, gradient_checkpointing=True)
    calls = []
    one.model.network.bert.encoder.layer[0].intermediate.register_forward_hook(lambda *_: calls.append(1))
    next(one.steps())
    assert len(calls) == 2


def test_a_network_that_cannot_is_refused(convolutions, make_engine):
    with pytest.raises(TrainingError, match=r"training\.gradient_checkpointing.*found resnet.*Leave it out"):
        make_engine(convolutions, gradient_checkpointing=True, image_size=32)


def test_a_detector_of_torchvision_is_refused():
    network = Detector(DetectorConfig(channels=32, num_labels=2))
    with pytest.raises(TrainingError, match="found torchvision-detector"):
        recompute(network)
