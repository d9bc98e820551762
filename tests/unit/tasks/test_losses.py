"""Losses that weigh classes and examples."""

from __future__ import annotations

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot
from torchvision.ops import sigmoid_focal_loss

from goldloop.errors import TrainingError
from goldloop.tasks import tasks
from goldloop.tasks._class_maps import target_of
from goldloop.tasks._losses import choice_loss, choices_loss, class_weights, pixel_loss, tag_losses
from goldloop.tasks.base import PLAIN_LOSS, Batch, LossOptions

CLASSES = 4
WEIGHTS = (0.5, 2.0, 1.0, 3.0)
IGNORED = -100
OPTIONS = st.builds(
    LossOptions,
    label_smoothing=st.sampled_from([0.0, 0.1, 0.4]),
    class_weights=st.sampled_from([None, WEIGHTS]),
    focal_gamma=st.sampled_from([0.0, 0.5, 2.0]),
)


def drawn(examples, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(examples, CLASSES, generator=generator)
    return logits, torch.randint(0, CLASSES, (examples,), generator=generator)


def test_a_plain_loss_is_cross_entropy():
    logits, ids = drawn(9)
    several = one_hot(ids, CLASSES).float()

    torch.testing.assert_close(choice_loss(logits, ids, PLAIN_LOSS), cross_entropy(logits, ids))
    torch.testing.assert_close(
        choices_loss(logits, several, PLAIN_LOSS), binary_cross_entropy_with_logits(logits, several)
    )


@settings(deadline=None, max_examples=40)
@given(OPTIONS, st.integers(0, 99))
def test_the_loss_is_what_its_formula_says(options, seed):
    logits, ids = drawn(5, seed)
    smoothing, gamma = options.label_smoothing, options.focal_gamma
    probabilities = logits.double().softmax(1)
    weights = torch.tensor(options.class_weights or (1.0,) * CLASSES).double()
    truth = one_hot(ids, CLASSES) * (1 - smoothing) + smoothing / CLASSES

    expected = -(weights * truth * (1 - probabilities) ** gamma * probabilities.log()).sum(1).mean()

    assert choice_loss(logits, ids, options).item() == pytest.approx(expected.item(), rel=1e-4)


@settings(deadline=None, max_examples=40)
@given(OPTIONS, st.integers(0, 99))
def test_a_share_of_the_truth_that_is_all_of_it_is_the_truth(options, seed):
    logits, ids = drawn(5, seed)

    shares = choice_loss(logits, one_hot(ids, CLASSES).float(), options)

    assert shares.item() == pytest.approx(choice_loss(logits, ids, options).item(), rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(OPTIONS, st.integers(1, 8), st.integers(0, 99))
def test_the_parts_of_a_batch_add_up_to_the_whole(options, first, seed):
    logits, ids = drawn(9, seed)
    several = one_hot(ids, CLASSES).float()
    for loss, truth in ((choice_loss, ids), (choices_loss, several)):
        whole = loss(logits, truth, options)

        parts = [loss(logits[:first], truth[:first], options), loss(logits[first:], truth[first:], options)]

        together = (first * parts[0] + (9 - first) * parts[1]) / 9
        assert together.item() == pytest.approx(whole.item(), rel=1e-5)


def test_a_focal_loss_of_several_classes_is_the_one_of_the_field():
    logits, ids = drawn(7)
    several = one_hot(ids, CLASSES).float()

    ours = choices_loss(logits, several, LossOptions(focal_gamma=2.0))

    expected = sigmoid_focal_loss(logits, several, alpha=-1, gamma=2, reduction="mean")
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)


def test_weights_of_several_classes_weigh_what_is_chosen():
    logits, ids = drawn(7)
    several = one_hot(ids, CLASSES).float()

    ours = choices_loss(logits, several, LossOptions(class_weights=WEIGHTS))
    nearly = choices_loss(logits, several, LossOptions(class_weights=WEIGHTS, focal_gamma=1e-7))

    expected = binary_cross_entropy_with_logits(logits, several, pos_weight=torch.tensor(WEIGHTS))
    assert ours.item() == pytest.approx(expected.item(), rel=1e-6)
    assert nearly.item() == pytest.approx(expected.item(), rel=1e-4)


@settings(deadline=None, max_examples=30)
@given(OPTIONS, st.sampled_from([1.0, 30.0, 200.0]))
def test_gradients_are_numbers_however_sure_the_network_is(options, scale):
    logits, ids = drawn(8)
    for loss, truth in ((choice_loss, ids), (choices_loss, one_hot(ids, CLASSES).float())):
        given_logits = (scale * logits).requires_grad_()

        loss(given_logits, truth, options).backward()

        assert given_logits.grad.isfinite().all()


def test_what_is_right_already_counts_less_in_a_focal_loss():
    logits = torch.tensor([[6.0, 0, 0, 0], [0.2, 0, 0, 0]])
    ids = torch.tensor([0, 0])

    shares = [
        choice_loss(logits[:1], ids[:1], options) / choice_loss(logits[1:], ids[1:], options)
        for options in (PLAIN_LOSS, LossOptions(focal_gamma=2.0))
    ]

    assert shares[1] < shares[0] / 100


@settings(deadline=None, max_examples=30)
@given(OPTIONS)
def test_pixels_that_are_void_teach_nothing_and_images_count_alike(options):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, CLASSES, 6, 6, generator=generator, requires_grad=True)
    maps = torch.randint(0, CLASSES, (2, 6, 6), generator=generator).to(torch.uint8)
    maps[0, :5] = 255

    loss = pixel_loss(logits, maps, options, 255)
    loss.backward()

    rows = logits.detach()[0, :, 5].T, logits.detach()[1].flatten(1).T
    truth = maps[0, 5].long(), maps[1].flatten().long()
    apart = [choice_loss(row, ids, options).item() for row, ids in zip(rows, truth, strict=True)]
    assert loss.item() == pytest.approx(sum(apart) / 2, rel=1e-5)
    assert (logits.grad[0, :, :5] == 0).all()
    assert logits.grad[0, :, 5].abs().sum() > 0


def test_both_tags_of_a_class_have_its_weight_and_no_class_has_1():
    logits = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    tags = torch.tensor([[0, 1, 2, 3, 4, IGNORED], [0, 0, 3, 4, 4, IGNORED]])

    plain = tag_losses(logits, tags, PLAIN_LOSS, IGNORED)
    weighed = tag_losses(logits, tags, LossOptions(class_weights=(2.0, 5.0)), IGNORED)

    expected = torch.tensor([[1.0, 2, 2, 5, 5, 0], [1, 1, 5, 5, 5, 0]])
    torch.testing.assert_close(weighed, plain * expected)
    assert (tag_losses(logits, tags, LossOptions(focal_gamma=2.0), IGNORED)[:, 5] == 0).all()


def task_of(kind="text-classification", classes=("common", "rare", "never")):
    return tasks.create({"kind": kind, "classes": list(classes)})


LABELS = ["common"] * 90 + ["rare"] * 10


@pytest.mark.parametrize(
    ("choice", "ratio"), [("balanced", 9.0), ("sqrt", 3.0), ({"rare": 4.0}, 4.0), ({"common": 0.5}, 2.0)]
)
def test_weights_have_mean_1_over_the_labels(choice, ratio):
    common, rare, never = class_weights(task_of(), LABELS, choice)

    assert rare / common == pytest.approx(ratio)
    assert 0.9 * common + 0.1 * rare == pytest.approx(1)
    assert never > 0


def test_balanced_classes_count_alike_in_sum():
    common, rare, never = class_weights(task_of(), LABELS, "balanced")

    assert 90 * common == pytest.approx(10 * rare)
    assert never == 1


def test_labels_are_counted_as_the_kind_of_task_has_them():
    several = class_weights(task_of("text-multilabel"), [["common", "rare"], ["common"], []], "balanced")
    spans = [{"label": "rare", "start": 0, "end": 1, "text": "a"}] * 2
    tagged = class_weights(task_of("token-classification"), [spans, []], {"rare": 3.0})
    pixels = numpy.zeros((4, 5), numpy.uint8)
    pixels[0, :4] = 1
    painted = task_of("semantic-segmentation")
    shares = class_weights(painted, [target_of(pixels, painted.classes)], "balanced")

    assert several == pytest.approx((0.75, 1.5, 1.0))
    assert tagged == pytest.approx((1 / 3, 1.0, 1 / 3))
    assert shares == pytest.approx((20 / 32, 20 / 8, 1.0))


def test_no_labels_leave_the_weights_as_they_are_given():
    assert class_weights(task_of(), [], "balanced") == (1.0, 1.0, 1.0)
    assert class_weights(task_of(), [], {"rare": 3.0}) == (1.0, 3.0, 1.0)


def test_a_weight_for_an_unknown_class_is_refused_and_the_nearest_named():
    with pytest.raises(TrainingError, match=r"'comon'.*Did you mean 'common'"):
        class_weights(task_of(), LABELS, {"comon": 2.0})


class _Outputs:
    def __init__(self, logits):
        self.logits = logits


def test_a_loss_reads_nothing_back_from_the_device():
    task, options = task_of(), LossOptions(0.1, (1.0, 2.0, 3.0), 1.0)
    # On the meta device there are no values: whatever read one back would fail.
    logits, ids = torch.zeros(2, 3, device="meta"), torch.zeros(2, dtype=torch.int64, device="meta")

    assert task.loss(_Outputs(logits), Batch({}, ids, ("a", "b")), options).shape == ()
    assert choices_loss(logits, logits, options).shape == ()
    assert tag_losses(torch.zeros(2, 7, device="meta"), ids, options, IGNORED).shape == (2,)
    maps = torch.zeros(1, 4, 4, dtype=torch.uint8, device="meta")
    assert pixel_loss(torch.zeros(1, 3, 2, 2, device="meta"), maps, options, 255).shape == ()
