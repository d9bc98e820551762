"""Semantic segmentation: what is drawn is what the network sees, and figures count pixels."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_sdk.converter import brush
from PIL import Image, ImageOps
from sklearn.metrics import confusion_matrix, jaccard_score

from goldloop.connectors import connectors
from goldloop.errors import AnnotationError, GoldloopError, ItemError, RecipeError
from goldloop.recipe import load
from goldloop.records import Item, content_key
from goldloop.tasks import tasks
from goldloop.tasks._class_maps import VOID, map_of, target_of
from goldloop.tasks._masks import polygon_mask, to_counts, to_label_studio
from goldloop.tasks.base import LossOptions

REPOSITORY = Path(__file__).resolve().parents[3]
STREETS = REPOSITORY.parent / "shared" / "data" / "camvid"
LAW = settings(deadline=None, max_examples=40)
CLASSES = ("road", "sky", "car")
WIDTH, HEIGHT = 30, 20
ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def task():
    return tasks.create({"kind": "semantic-segmentation", "classes": list(CLASSES)})


@pytest.fixture(scope="module")
def model(task):
    torch.manual_seed(0)
    return task.example_model()


def item_of(width=WIDTH, height=HEIGHT, content=b"picture"):
    key = content_key(content)
    return Item(
        key=key,
        modality="image",
        uri="a",
        group=key,
        source="0:test",
        media_type="image/png",
        width=width,
        height=height,
    )


def target(pixels):
    return target_of(np.asarray(pixels, dtype=np.uint8), CLASSES)


@st.composite
def maps(draw, height=6, width=5):
    values = st.sampled_from([0, 1, 2, VOID])
    drawn = draw(st.lists(values, min_size=height * width, max_size=height * width))
    return np.array(drawn, dtype=np.uint8).reshape(height, width)


def frame(**fields):
    return {
        "id": "r1",
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        **fields,
    }


def stroke(label, mask):
    value = {"format": "rle", "rle": to_label_studio(mask), "brushlabels": [label]}
    return frame(from_name="mask", type="brushlabels", value=value)


def outline(label, points):
    percent = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in points]
    value = {"points": percent, "closed": True, "polygonlabels": [label]}
    return frame(from_name="outline", type="polygonlabels", value=value)


@pytest.fixture
def left():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:, :20] = True
    return mask


SQUARE = [(10, 5), (25, 5), (25, 15), (10, 15)]


def test_both_tools_show_every_class_in_a_colour_of_its_own(task):
    config = task.label_config()

    assert '<BrushLabels name="mask"' in config
    assert '<PolygonLabels name="outline"' in config
    colours = [line.split("background=")[1] for line in config.splitlines() if "background=" in line]
    assert len(colours) == 2 * len(CLASSES)
    assert len(set(colours)) == len(CLASSES)


def test_255_classes_have_255_colours_and_more_do_not_fit():
    names = [f"class {number}" for number in range(255)]
    config = tasks.create(
        {"kind": "semantic-segmentation", "classes": names, "tools": ["brush"]}
    ).label_config()

    colours = {part.split('"')[1] for part in config.split("background=")[1:]}
    assert len(colours) == 255
    with pytest.raises(RecipeError, match="255"):
        tasks.create({"kind": "semantic-segmentation", "classes": [*names, "one more"]})


@pytest.mark.parametrize(
    "wrong", [{"classes": ["one"]}, {"tools": ["polygon"]}, {"tools": []}, {"tools": ["brush", "brush"]}]
)
def test_a_task_that_cannot_be_is_refused(wrong):
    with pytest.raises(RecipeError):
        tasks.create({"kind": "semantic-segmentation", "classes": list(CLASSES), **wrong})


def test_a_region_lies_on_top_of_those_that_were_drawn_before(task, left):
    first, second = stroke("road", left), outline("car", SQUARE)
    square = polygon_mask(SQUARE, WIDTH, HEIGHT)

    above = map_of(task.decode([first, second], item_of()), CLASSES)
    below = map_of(task.decode([second, first], item_of()), CLASSES)

    assert np.array_equal(above == 2, square)
    assert np.array_equal(above == 0, left & ~square)
    assert np.array_equal(below == 0, left)
    assert np.array_equal(below == 2, square & ~left)
    assert np.array_equal(above == VOID, ~(left | square))


def test_strokes_of_one_class_become_one_mask(task, left):
    answer = task.decode([stroke("road", left), outline("road", SQUARE)], item_of())

    assert [mask["label"] for mask in answer["masks"]] == ["road"]
    assert len(task.encode(answer, item_of())) == 1


def test_no_region_is_an_answer_and_the_image_is_void(task):
    answer = task.decode([], item_of())

    assert answer == {"width": WIDTH, "height": HEIGHT, "masks": []}
    assert task.encode(answer, item_of()) == []
    assert task.describe(answer) == "nothing marked"


def test_what_the_converter_of_label_studio_writes_is_decoded_and_what_is_encoded_it_reads(task, left):
    region = stroke("sky", left)
    region["value"]["rle"] = brush.mask2rle((left * 255).astype(np.uint8))

    answer = task.decode([region], item_of())

    (encoded,) = task.encode(answer, item_of())
    image = brush.decode_rle(encoded["value"]["rle"]).reshape(HEIGHT, WIDTH, 4)
    assert np.array_equal(image[..., 3] > 0, left)


@LAW
@given(maps())
def test_any_map_survives_the_way_to_label_studio_and_into_a_row(pixels):
    task = tasks.create({"kind": "semantic-segmentation", "classes": list(CLASSES)})
    item, answer = item_of(5, 6), target(pixels)

    sent = json.loads(json.dumps(task.encode(answer, item)))

    assert task.decode(sent, item) == answer
    assert task.parse(json.loads(json.dumps(answer)), item) == answer
    assert task.from_row(json.loads(json.dumps(task.to_row(answer)))) == answer
    assert np.array_equal(map_of(answer, CLASSES), pixels)


def broken(region, **value):
    return {**region, "value": {**region["value"], **value}}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda region: {**region, "original_width": 31}, "original_width"),
        (lambda region: {**region, "image_rotation": 90}, "image_rotation"),
        (lambda region: broken(region, brushlabels=["raod"]), "road"),
        (lambda region: broken(region, brushlabels=["road", "sky"]), "exactly one class"),
        (lambda region: broken(region, rle="text"), "no mask"),
        (lambda region: broken(region, format="png"), "no mask"),
        (lambda region: broken(region, rle=region["value"]["rle"][:9]), "breaks off"),
        (lambda region: outline("car", SQUARE[:2]), "3 corners"),
        (lambda region: broken(outline("car", SQUARE), points=[[0, 0], [1, "b"], [2, 2]]), "3 corners"),
        (
            lambda region: broken(outline("car", SQUARE), points=[[0, 0], [1, float("nan")], [2, 2]]),
            "corners",
        ),
    ],
)
def test_a_broken_region_is_refused_by_name(task, left, change, problem):
    with pytest.raises(AnnotationError, match=problem) as caught:
        task.decode([change(stroke("road", left))], item_of())

    assert "region r1" in str(caught.value.where)


def test_masks_of_a_source_may_overlap_and_come_in_any_order(task, left):
    square = polygon_mask(SQUARE, WIDTH, HEIGHT)
    masks = [{"label": "car", "counts": to_counts(square)}, {"label": "road", "counts": to_counts(left)}]

    answer = task.parse({"width": WIDTH, "height": HEIGHT, "masks": masks}, item_of())

    assert [mask["label"] for mask in answer["masks"]] == ["road", "car"]
    assert np.array_equal(map_of(answer, CLASSES) == 0, left)


@pytest.mark.parametrize(
    "value",
    [
        {"width": HEIGHT, "height": WIDTH, "masks": []},
        {"width": WIDTH, "height": HEIGHT, "masks": [{"label": "road"}]},
        {"width": WIDTH, "height": HEIGHT, "masks": ["road"]},
        {"width": WIDTH, "height": HEIGHT, "masks": [{"label": "raod", "counts": "0"}]},
        {"width": WIDTH, "height": HEIGHT, "masks": [{"label": "road", "counts": "hello"}]},
        {"width": WIDTH, "height": HEIGHT},
    ],
)
def test_masks_that_do_not_fit_their_image_are_refused(task, value):
    with pytest.raises(AnnotationError, match=item_of().key):
        task.parse(value, item_of())


def test_agreement_is_the_mean_overlap_of_the_classes_that_either_has(task):
    one, other = target([[0, 0, 0, 1]]), target([[0, 0, 2, VOID]])

    # road 2 of 3 pixels, sky 0 of 1, car 0 of 1.
    assert task.agreement(one, other) == pytest.approx((2 / 3) / 3)
    assert task.agreement(one, target([[VOID] * 4])) == 0
    assert task.agreement(target([[VOID] * 4]), target([[VOID] * 4])) == 1
    assert task.agreement(one, target([[0], [0], [0], [1]])) == 0


@LAW
@given(maps(), maps())
def test_agreement_is_symmetric_and_1_only_for_equals(a, b):
    task = tasks.create({"kind": "semantic-segmentation", "classes": list(CLASSES)})

    value = task.agreement(target(a), target(b))

    assert value == task.agreement(target(b), target(a))
    assert (value == 1) == np.array_equal(a, b)


def test_the_majority_of_annotators_decides_each_pixel_and_ties_are_void(task):
    answers = [[[0, 0, 0, 1, VOID]], [[0, 0, 1, 2, VOID]], [[0, 1, VOID, 2, 0]]]

    agreed = task.consensus([target(answer) for answer in answers], "majority")

    assert map_of(agreed, CLASSES).tolist() == [[0, 0, VOID, 2, VOID]]


def test_annotators_who_agree_on_no_pixel_have_no_consensus(task):
    one, other = target([[0, 1]]), target([[1, 0]])

    assert task.consensus([one, other], "majority") is None
    assert task.consensus([], "majority") is None
    assert task.consensus([one, one, other], "majority") == one
    assert task.consensus([one, one, other], "unanimous") is None
    assert task.consensus([one, one], "unanimous") == one


@LAW
@given(st.lists(maps(3, 3), min_size=1, max_size=5))
def test_the_majority_is_what_counting_each_pixel_gives(answers):
    task = tasks.create({"kind": "semantic-segmentation", "classes": list(CLASSES)})

    agreed = task.consensus([target(answer) for answer in answers], "majority")

    votes = np.stack([(np.stack(answers) == value).sum(0) for value in (0, 1, 2, VOID)])
    top = votes.max(0)
    tied = (votes == top).sum(0) > 1
    expected = np.where(tied, VOID, np.array([0, 1, 2, VOID])[votes.argmax(0)])
    if tied.all():
        assert agreed is None
    else:
        assert np.array_equal(map_of(agreed, CLASSES), expected)


@LAW
@given(maps(), maps())
def test_figures_are_those_of_scikit_learn_over_pixels_that_are_not_void(expected, predicted):
    task = tasks.create({"kind": "semantic-segmentation", "classes": list(CLASSES)})
    predicted = np.where(predicted == VOID, 0, predicted)
    if (expected == VOID).all():
        return
    known = expected != VOID
    truth, answers = expected[known], predicted[known]
    seen = sorted({*truth.tolist(), *answers.tolist()})

    score = task.score([target(predicted)], [target(expected)])

    assert score["miou"] == pytest.approx(jaccard_score(truth, answers, labels=seen, average="macro"))
    assert score["pixel_accuracy"] == pytest.approx((truth == answers).mean())
    matrix = confusion_matrix(truth, answers, labels=range(3))
    assert task.confusion([target(predicted)], [target(expected)]) == tuple(map(tuple, matrix.tolist()))
    figures = task.per_class([target(predicted)], [target(expected)])
    overlaps = jaccard_score(truth, answers, labels=range(3), average=None, zero_division=0)
    assert [figures[name]["iou"] for name in CLASSES] == pytest.approx(overlaps.tolist())
    assert [figures[name]["support"] for name in CLASSES] == [(truth == number).sum() for number in range(3)]


def test_pixels_that_an_answer_leaves_void_are_missed(task):
    score = task.score([target([[0, VOID]])], [target([[0, 0]])])

    assert score == {"miou": 0.5, "pixel_accuracy": 0.5, "mean_accuracy": 0.5}


def test_figures_sum_pixels_over_items_rather_than_average_them(task):
    predicted, expected = [target([[0]]), target([[0, 1, 1, 1]])], [target([[1]]), target([[0, 1, 1, 1]])]

    assert task.score(predicted, expected)["miou"] == pytest.approx((1 / 2 + 3 / 4) / 2)


def pattern():
    """A picture without symmetry, and the map of its classes: each colour is a class."""
    pixels = np.zeros((48, 64), np.uint8)
    pixels[8:20, 10:50] = 1
    pixels[20:44, 10:22] = 2
    colours = np.array([[40, 40, 40], [220, 60, 60], [60, 60, 220]], np.uint8)
    return colours[pixels], pixels


def stored(upright, orientation):
    """The file of a camera that was held so: raw pixels and the tag that turns them upright."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    picture = Image.fromarray(upright)
    raw = picture.transpose(undo[orientation]) if orientation in undo else picture
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    buffer = io.BytesIO()
    raw.save(buffer, format="JPEG", quality=95, subsampling=0, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_was_drawn_on_a_turned_photo_is_what_the_network_sees(task, orientation):
    upright, pixels = pattern()
    content = stored(upright, orientation)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert shown.shape == upright.shape
    item = item_of(64, 48, content)
    model = task.model(
        {"from-config": {"model_type": "segformer", "hidden_sizes": [8, 8, 8, 8], "decoder_hidden_size": 8}},
        settings={"image_size": 192},
    )
    drawn = task.decode(task.encode(target(pixels), item), item)

    (prepared,) = task.prepare(model, [{"key": item.key, "image": content, **task.to_row(drawn)}])

    seen = prepared["pixel_values"].permute(1, 2, 0).numpy().astype(int)
    colours = np.array([[40, 40, 40], [220, 60, 60], [60, 60, 220]])
    by_colour = np.abs(seen[:, :, None] - colours).sum(-1).argmin(-1)
    for number in range(3):
        learned = prepared["map"].numpy() == number
        overlap = (learned & (by_colour == number)).sum() / (learned | (by_colour == number)).sum()
        assert overlap >= 0.99
    assert prepared["size"] == [64, 48]


def test_masks_of_another_size_than_the_image_are_refused(task, model):
    upright, pixels = pattern()
    row = {"key": "a", "image": stored(upright, 1), **task.to_row(target(pixels.T))}

    with pytest.raises(ItemError, match="another size"):
        task.prepare(model, [row])


def test_an_answer_is_as_large_as_its_image_and_covers_it(task, model):
    upright, _ = pattern()
    rows = [{"image": stored(upright, orientation)} for orientation in (1, 6)]
    rows.append({"image": stored(upright[:11, :50], 1)})

    batch = task.normalize(task.batch(task.prepare(model, rows), model), model)
    with torch.no_grad():
        predictions = task.predict(model, task.outputs(model.network.eval() and model, batch))

    sizes = [(prediction.target["width"], prediction.target["height"]) for prediction in predictions]
    assert sizes == [(64, 48), (64, 48), (50, 11)]
    for prediction in predictions:
        assert not (map_of(prediction.target, CLASSES) == VOID).any()
        assert sum(prediction.scores.values()) == pytest.approx(1, abs=1e-4)


def batch_of(task, model, pixels, colours):
    rows = [{"pixel_values": torch.as_tensor(colours), "map": torch.as_tensor(pixels), "size": [32, 32]}]
    return task.batch(rows * 24, model)


@pytest.mark.parametrize("mirror", [False, True])
def test_masks_move_along_with_what_they_cover(mirror):
    task = tasks.create({"kind": "semantic-segmentation", "classes": list(CLASSES), "mirror": mirror})
    model = task.example_model()
    # Brightness rises to the right, and the left half is of another class.
    ramp = np.tile(np.linspace(60, 200, 32).astype(np.uint8), (3, 32, 1))
    halves = (np.arange(32)[None].repeat(32, 0) >= 16).astype(np.uint8)
    batch = batch_of(task, model, halves, ramp)

    varied = task.augment(batch, model, torch.Generator().manual_seed(1))

    assert varied.targets["map"].dtype == torch.uint8
    assert varied.inputs["pixel_values"].shape == batch.inputs["pixel_values"].shape
    assert torch.equal(batch.targets["map"][0], torch.as_tensor(halves))
    flipped = 0
    for image, pixels in zip(varied.inputs["pixel_values"].mean(1), varied.targets["map"], strict=True):
        one, other = image[pixels == 0], image[pixels == 1]
        if min(one.numel(), other.numel()) == 0:
            continue
        assert one.max() <= other.min() + 12
        columns = torch.where(pixels == 1)[1].float().mean() - torch.where(pixels == 0)[1].float().mean()
        flipped += int(columns < 0)
    assert (flipped > 0) == mirror


def test_void_stays_void_when_it_moves_and_so_does_what_lies_beyond_the_image(task, model):
    void = np.full((32, 32), VOID, np.uint8)
    batch = batch_of(task, model, void, np.zeros((3, 32, 32), np.uint8))
    full = batch_of(task, model, np.full((32, 32), 254, np.uint8), np.zeros((3, 32, 32), np.uint8))

    moved = task.augment(batch, model, torch.Generator().manual_seed(1)).targets["map"]
    kept = task.augment(full, model, torch.Generator().manual_seed(1)).targets["map"]

    assert (moved == VOID).all()
    assert set(kept.unique().tolist()) == {254, VOID}


def test_void_pixels_teach_nothing(task, model):
    pixels = np.zeros((32, 32), np.uint8)
    pixels[:16] = VOID
    batch = batch_of(task, model, pixels, np.zeros((3, 32, 32), np.uint8))
    logits = torch.zeros(24, 3, 32, 32, requires_grad=True)

    loss = task.loss(type("Outputs", (), {"logits": logits}), batch)
    loss.backward()

    assert loss.item() == pytest.approx(np.log(3))
    assert logits.grad[:, :, :16].abs().sum() == 0
    assert logits.grad[:, :, 16:].abs().sum() > 0


def test_an_image_that_is_void_as_a_whole_costs_nothing(task, model):
    batch = batch_of(task, model, np.full((32, 32), VOID, np.uint8), np.zeros((3, 32, 32), np.uint8))
    logits = torch.randn(24, 3, 16, 16, requires_grad=True)

    loss = task.loss(type("Outputs", (), {"logits": logits}), batch, LossOptions(0.1))
    loss.backward()

    assert loss.item() == 0


def test_a_network_that_answers_no_numbers_is_refused(task, model):
    upright, _ = pattern()
    batch = task.normalize(task.batch(task.prepare(model, [{"image": stored(upright, 1)}]), model), model)
    batch.inputs["pixel_values"][:] = torch.nan

    with torch.no_grad(), pytest.raises(GoldloopError, match="NaN"):
        task.outputs(model, batch)


CONFIGS = {
    "segformer": {"hidden_sizes": [8, 8, 16, 16], "decoder_hidden_size": 8, "depths": [1, 1, 1, 1]},
    "upernet": {
        "hidden_size": 8,
        "pool_scales": [1, 2],
        "use_auxiliary_head": False,
        "backbone_config": {
            "model_type": "resnet",
            "embedding_size": 8,
            "hidden_sizes": [8, 8, 8, 8],
            "depths": [1, 1, 1, 1],
            "layer_type": "basic",
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
    },
    "mobilenet_v2": {"depth_multiplier": 0.35},
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_networks_of_several_designs_learn_answer_and_come_back_from_disk(task, kind, tmp_path):
    torch.manual_seed(0)
    model = task.model({"from-config": {"model_type": kind, **CONFIGS[kind]}}, settings={"image_size": 64})
    upright, pixels = pattern()
    rows = [{"key": "a", "image": stored(upright, 1), **task.to_row(target(pixels))}] * 2
    batch = task.normalize(task.batch(task.prepare(model, rows), model), model)

    loss = task.loss(model.network.train()(**task.training_inputs(batch)), batch, LossOptions(0.1))
    loss.backward()
    model.network.eval()
    model.network.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)
    again = task.model(tmp_path, settings=json.loads(json.dumps(model.settings)))
    again.network.eval()

    assert torch.isfinite(loss)
    with torch.no_grad():
        before, after = (task.predict(one, task.outputs(one, batch)) for one in (model, again))
    assert [one.target for one in before] == [one.target for one in after]
    confidences = [one.confidence for one in before]
    assert confidences == pytest.approx([one.confidence for one in after], abs=1e-5)


def test_a_saved_model_answers_the_same_in_a_pipeline_of_transformers(task, model, tmp_path):
    upright, _ = pattern()
    model.network.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)
    model.network.eval()
    batch = task.normalize(task.batch(task.prepare(model, [{"image": stored(upright, 1)}]), model), model)
    with torch.no_grad():
        (ours,) = task.predict(model, task.outputs(model, batch))

    theirs = transformers.pipeline("image-segmentation", model=str(tmp_path))(
        Image.open(io.BytesIO(stored(upright, 1))), subtask="semantic"
    )

    pixels = np.full((48, 64), VOID, np.uint8)
    for region in theirs:
        pixels[np.asarray(region["mask"]) > 0] = CLASSES.index(region["label"])
    assert (pixels == map_of(ours.target, CLASSES)).mean() > 0.99


@pytest.mark.skipif(not STREETS.is_dir(), reason="the CamVid images are not beside the repository")
def test_the_masks_of_the_streets_recipe_are_the_numbers_of_its_files():
    recipe = load(REPOSITORY / "configs" / "streets.yaml", [f"sources.0.url={STREETS}", "sources.0.limit=3"])
    task = tasks.create(recipe.task)

    items = list(connectors.create(recipe.sources[0]).items())

    assert len(items) == 3
    for item in items:
        answer = task.decode(task.encode(task.parse(item.label, item), item), item)
        ids = np.asarray(Image.open(STREETS / "masks" / Path(item.uri).name))
        assert np.array_equal(map_of(answer, task.classes), np.where(ids == 11, VOID, ids))
        assert item.label_use == "annotation"
