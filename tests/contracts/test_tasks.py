"""The laws that every task type keeps. A new file in `goldloop/tasks` is held to them unasked."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter

import datasets
import numpy
import pytest
import torch
from label_studio_sdk.label_interface import LabelInterface

from goldloop.errors import AnnotationError, GoldloopError
from goldloop.tasks import tasks
from goldloop.tasks._augmentation import AugmentationOptions
from goldloop.tasks.base import LossOptions

KINDS = tasks.names()
STEPS = 40


def test_there_are_task_types_to_hold_to_the_laws():
    assert {"image-classification", "text-classification"} <= set(KINDS)


@pytest.fixture(scope="module", params=KINDS)
def task(request):
    return tasks.create(tasks.get(request.param).example_config())


@pytest.fixture(scope="module")
def examples(task):
    return task.examples()


@pytest.fixture(scope="module")
def address(task):
    return "http://localhost/data/1.png" if task.modality == "image" else None


def row_of(task, example):
    content = example.content if task.modality == "image" else example.item.text
    return {"key": example.item.key, task.modality: content, **task.to_row(example.target)}


@pytest.fixture(scope="module")
def rows(task, examples):
    return [row_of(task, example) for example in examples]


@pytest.fixture(scope="module")
def model(task):
    torch.manual_seed(0)
    return task.example_model()


def answers(task, model, rows):
    model.network.eval()
    with torch.no_grad():
        batch = task.normalize(task.batch(task.prepare(model, rows), model), model)
        return task.outputs(model, batch)


def targets_of(examples):
    return [example.target for example in examples]


def test_examples_show_several_answers_about_items_of_the_task(task, examples):
    assert len(examples) >= 4
    assert len({json.dumps(example.target) for example in examples}) >= 2
    assert len({example.item.key for example in examples}) == len(examples)
    for example in examples:
        assert example.item.modality == task.modality
        assert (example.content is not None) == (task.modality == "image")


def test_examples_are_the_same_each_time(task, examples):
    again = task.examples()

    assert again == examples
    assert [example.content for example in again] == [example.content for example in examples]


def test_label_config_is_one_that_label_studio_takes(task):
    interface = LabelInterface(task.label_config())

    interface.validate()

    assert len(interface.controls) >= 1


def test_task_data_has_the_fields_that_the_label_config_shows(task, examples, address):
    interface = LabelInterface(task.label_config())

    for example in examples:
        data = task.task_data(example.item, address)
        json.dumps(data)
        for shown in interface.objects:
            assert shown.value.lstrip("$") in data


def test_text_reaches_the_annotator_to_the_character(task, examples):
    if task.modality != "text":
        assert all(example.item.text is None for example in examples)
        return
    for example in examples:
        data = json.loads(json.dumps(task.task_data(example.item, None)))
        # A text that is made of several comes as a JSON list.
        whole = example.item.text in data.values()
        assert whole or set(json.loads(example.item.text)) <= set(data.values())


def test_encoded_targets_are_valid_predictions(task, examples):
    interface = LabelInterface(task.label_config())

    for example in examples:
        result = task.encode(example.target, example.item)
        json.dumps(result)
        assert interface.validate_prediction({"result": result}, return_errors=True) == []


def test_decode_undoes_encode(task, examples):
    for example in examples:
        result = json.loads(json.dumps(task.encode(example.target, example.item)))
        assert task.decode(result, example.item) == example.target


def test_a_target_is_a_json_value_in_canonical_form(task, examples):
    for example in examples:
        read = json.loads(json.dumps(example.target, allow_nan=False))
        assert read == example.target
        assert task.parse(read, example.item) == example.target


def test_an_answer_fits_its_own_item(task, examples):
    for example in examples:
        assert task.misfit(example.target, example.item) is None


def test_an_answer_with_places_does_not_fit_a_smaller_image(task, examples):
    has_places = task.modality == "image" and task.needs_size
    sized = [example for example in examples if has_places and task.classes_in(example.target)]
    assert bool(sized) == has_places
    for example in sized:
        wrong = task.misfit(example.target, dataclasses.replace(example.item, width=9, height=9))
        assert wrong is not None
        assert example.item.key in wrong


def test_a_target_is_described_in_a_few_words(task, examples):
    assert all(0 < len(task.describe(target)) <= 200 for target in targets_of(examples))


def test_classes_in_a_target_are_classes_of_the_task(task, examples):
    named = {name for target in targets_of(examples) for name in task.classes_in(target)}

    assert named <= set(task.classes)
    assert bool(named) == bool(task.classes)


def test_encoding_twice_gives_the_same_result(task, examples):
    for example in examples:
        assert task.encode(example.target, example.item) == task.encode(example.target, example.item)


CORRUPTIONS = {
    "another from_name": lambda region: {**region, "from_name": "elsewhere"},
    "another to_name": lambda region: {**region, "to_name": "elsewhere"},
    "another type": lambda region: {**region, "type": "videorectangle"},
    "no value": lambda region: {name: part for name, part in region.items() if name != "value"},
    "an empty value": lambda region: {**region, "value": {}},
    "a value that is a text": lambda region: {**region, "value": "garbage"},
    "senseless numbers": lambda region: {
        **region,
        "value": dict.fromkeys(region["value"], -7e9),
    },
    "no region at all": lambda region: None,
    "a region that is a text": lambda region: "garbage",
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_decode_refuses_garbage_and_names_the_item(task, examples, corruption):
    example = next(example for example in examples if task.encode(example.target, example.item))
    result = task.encode(example.target, example.item)
    corrupted = [CORRUPTIONS[corruption](result[0]), *result[1:]]

    with pytest.raises(AnnotationError, match=example.item.key):
        task.decode(corrupted, example.item)


def test_rows_survive_a_parquet_file(task, examples, tmp_path):
    rows = [row_of(task, example) for example in examples]
    features = datasets.Features({"key": datasets.Value("string"), **task.features()})
    if task.modality == "image":
        for row in rows:
            row["image"] = {"bytes": row["image"], "path": None}
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "rows.parquet")

    loaded = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "rows.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )

    assert loaded.features == features
    assert [task.from_row(row) for row in loaded] == targets_of(examples)
    if task.modality == "text":
        assert loaded["text"][:] == [example.item.text for example in examples]


def test_a_row_that_the_datasets_library_decoded_is_prepared_like_its_bytes(task, model, rows, tmp_path):
    features = datasets.Features({"key": datasets.Value("string"), **task.features()})
    encoded = [
        {**row, "image": {"bytes": row["image"], "path": None}} if "image" in row else row for row in rows
    ]
    loaded = datasets.Dataset.from_list(encoded, features=features)

    assert same(task.prepare(model, list(loaded)), task.prepare(model, rows))


def test_agreement_is_reflexive_symmetric_and_in_range(task, examples):
    for one, other in itertools.product(targets_of(examples), repeat=2):
        value = task.agreement(one, other)
        assert 0 <= value <= 1
        assert value == task.agreement(other, one)
        assert (value == 1) or one != other


@pytest.mark.parametrize("policy", ["majority", "unanimous"])
def test_one_answer_is_its_own_consensus(task, examples, policy):
    for target in targets_of(examples):
        assert task.consensus([target], policy) == target
        assert task.consensus([target, target, target], policy) == target


def test_consensus_of_a_majority_depends_on_no_order(task, examples):
    first, second = different(examples)

    results = [
        task.consensus(list(order), "majority") for order in itertools.permutations([first, first, second])
    ]

    assert all(result == results[0] for result in results)


def different(examples):
    first = examples[0].target
    return first, next(example.target for example in examples if example.target != first)


def test_a_perfect_model_has_a_perfect_score(task, examples):
    targets = targets_of(examples)

    score = task.score(targets, targets)

    assert task.metric in score
    assert all(value == pytest.approx(1) for value in score.values())
    json.dumps(score, allow_nan=False)


def test_a_wrong_answer_costs(task, examples):
    targets = targets_of(examples)
    first, second = different(examples)
    wrong = [second if target == first else target for target in targets]

    assert task.score(wrong, targets)[task.metric] < 1


def test_per_class_figures_and_confusion_are_json_over_the_classes(task, examples):
    targets = targets_of(examples)

    figures, confusion = task.per_class(targets, targets), task.confusion(targets, targets)

    json.dumps([figures, confusion], allow_nan=False)
    assert set(figures) <= set(task.classes)
    assert len(confusion) in (0, len(task.classes))


def test_with_classes_keeps_everything_but_the_classes(task):
    if not task.classes:
        assert task.with_classes(()).config == task.config
        return
    grown = task.with_classes([*task.classes, "one more"])

    assert type(grown) is type(task)
    assert grown.classes == (*task.classes, "one more")
    assert grown.with_classes(task.classes).config == task.config


def test_a_source_says_what_means_nothing(task, examples):
    for garbage in (["no", {"such": "thing"}], {"no": 1}, -7e9, None, True):
        with pytest.raises(AnnotationError):
            task.parse(garbage, examples[0].item)


def test_a_tiny_network_learns_the_examples(task, rows):
    torch.manual_seed(0)
    model = task.example_model()
    batch = task.normalize(task.batch(task.prepare(model, rows), model), model)
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=5e-3)

    model.network.train()
    losses = []
    for _ in range(STEPS):
        loss = task.loss(model.network(**task.training_inputs(batch)), batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())

    assert min(losses[-5:]) < 0.8 * losses[0]


@pytest.mark.parametrize("option", [field.name for field in dataclasses.fields(LossOptions)])
def test_an_option_changes_the_loss_of_tasks_that_heed_it(task, model, rows, option):
    batch = task.normalize(task.batch(task.prepare(model, rows), model), model)
    weights = tuple(1.0 + number for number in range(len(task.classes)))
    value = {"label_smoothing": 0.3, "class_weights": weights, "focal_gamma": 2.0}[option]
    model.network.eval()
    with torch.no_grad():
        outputs = model.network(**task.training_inputs(batch))

    plain, changed = task.loss(outputs, batch), task.loss(outputs, batch, LossOptions(**{option: value}))

    assert plain.shape == changed.shape == ()
    assert bool(changed.isfinite())
    assert (changed != plain) == (option in task.loss_options)


def test_classes_are_counted_over_the_answers(task, examples):
    counts = Counter()
    for target in targets_of(examples):
        counts.update(task.class_counts(target))

    named = {name for target in targets_of(examples) for name in task.classes_in(target)}
    assert {name for name, count in counts.items() if count > 0} == named


def test_there_is_one_prediction_per_row(task, model, examples, rows):
    predictions = task.predict(model, answers(task, model, rows))

    assert len(predictions) == len(rows)
    for prediction, example in zip(predictions, examples, strict=True):
        assert 0 <= prediction.confidence <= 1
        json.dumps([prediction.target, prediction.scores], allow_nan=False)
        result = json.loads(json.dumps(task.encode(prediction.target, example.item)))
        task.to_row(task.decode(result, example.item))


def test_the_small_network_that_init_proposes_fits_the_task(task, examples):
    # A tokenizer, where there is one, is learned from the examples.
    texts = [example.item.text or "a caption" for example in examples]

    model = task.model({"from-config": dict(task.small_network)}, texts=texts)

    assert sum(parameter.numel() for parameter in model.network.parameters()) < 40_000_000
    assert isinstance(task.suggested_checkpoint, str)


def test_preparing_is_deterministic_and_keeps_keys_in_order(task, model, rows):
    prepared = task.prepare(model, rows)

    assert same(prepared, task.prepare(model, rows))
    assert task.batch(prepared, model).keys == tuple(row["key"] for row in rows)


def same(one, other):
    """Whether two lists of prepared rows are equal, tensors included."""
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)
        for a, b in zip(one, other, strict=True)
    )


def _equal(a, b):
    return numpy.array_equal(numpy.asarray(a), numpy.asarray(b))


def test_rows_without_a_target_are_batched_for_inference(task, model, rows):
    columns = {"key", task.modality}
    bare = [{name: value for name, value in row.items() if name in columns} for row in rows]

    batch = task.batch(task.prepare(model, bare), model)

    assert batch.targets is None
    assert len(batch.keys) == len(rows)


def test_an_item_is_answered_alike_alone_and_among_others(task, model, rows):
    together = task.predict(model, answers(task, model, rows))
    alone = [task.predict(model, answers(task, model, [row]))[0] for row in rows]

    for one, other in zip(together, alone, strict=True):
        assert task.agreement(one.target, other.target) == pytest.approx(1, abs=0.01)
        assert one.confidence == pytest.approx(other.confidence, abs=1e-4)


def test_augmenting_follows_its_generator_and_leaves_the_batch_as_it_was(task, model, rows):
    batch = task.batch(task.prepare(model, rows), model)
    before = {name: tensor.clone() for name, tensor in batch.inputs.items()}

    varied = [task.augment(batch, model, torch.Generator().manual_seed(seed)) for seed in (7, 7)]

    for name, tensor in before.items():
        assert torch.equal(batch.inputs[name], tensor)
        assert torch.equal(varied[0].inputs[name], varied[1].inputs[name])
        assert varied[0].inputs[name].shape == tensor.shape
    assert varied[0].keys == batch.keys


AUGMENTATIONS = {
    "geometry": True, "colour": True, "crop": 0.3, "flip": "both", "rand_augment": 3,
    "erase": 1.0, "mixup": 1.0, "cutmix": 1.0, "mosaic": 1.0,
}  # fmt: skip


def test_every_option_of_augmentation_that_a_task_heeds_changes_its_batches(task, model, rows):
    assert task.augmentations <= set(AUGMENTATIONS)
    batch = task.batch(task.prepare(model, rows), model)
    # A picture of a circle is its own mirror image, noise is not.
    noise = {
        name: torch.randint_like(tensor, 256) if tensor.dtype == torch.uint8 else tensor
        for name, tensor in batch.inputs.items()
    }
    batch = dataclasses.replace(batch, inputs=noise)
    before = {name: tensor.clone() for name, tensor in batch.inputs.items()}
    still = dict.fromkeys(("geometry", "colour"), False)

    for option in sorted(task.augmentations):
        options = AugmentationOptions(**{**still, option: AUGMENTATIONS[option]})
        varied = task.augment(batch, model, torch.Generator().manual_seed(3), options)

        assert any(not torch.equal(varied.inputs[name].float(), before[name].float()) for name in before)
        for name, tensor in before.items():
            assert torch.equal(batch.inputs[name], tensor)
            assert varied.inputs[name].shape == tensor.shape
        assert bool(task.loss(*_forward(task, model, varied)).isfinite())


def _forward(task, model, batch):
    batch = task.normalize(batch, model)
    model.network.eval()
    with torch.no_grad():
        return model.network(**task.training_inputs(batch)), batch


def test_a_saved_model_answers_as_before(task, model, rows, tmp_path):
    before = task.predict(model, answers(task, model, rows))
    model.network.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)
    settings = json.loads(json.dumps(model.settings))

    loaded = task.model(tmp_path, settings=settings)

    assert loaded.settings == model.settings
    assert task.predict(loaded, answers(task, loaded, rows)) == before
    assert not list(tmp_path.glob("*.bin"))
    assert str(tmp_path) not in (tmp_path / "config.json").read_text()


def test_a_saved_model_of_other_classes_is_refused(task, model, tmp_path):
    if not task.classes:
        assert task.label_config()
        return
    model.network.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)
    other = task.with_classes([*task.classes, "one more"])

    with pytest.raises(GoldloopError):
        other.model(tmp_path, settings=model.settings)
