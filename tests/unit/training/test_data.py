from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import datasets
import numpy
import pytest
import torch

from goldloop.errors import TrainingError
from goldloop.progress import Silent
from goldloop.tasks import tasks
from goldloop.training.data import PreparedSplit, shuffled


def prepared(material, cache):
    model = material.task.model({"from-config": material.network}, texts=["a b c"] * 4)
    return PreparedSplit.prepare(material.task, model, material.rows, cache)


@pytest.fixture
def calls(images, monkeypatch):
    """The keys of the images that were prepared, in the order of the calls."""
    kind, prepare, keys = type(images.task), type(images.task).prepare, []

    def counted(self, model, rows):
        keys.extend(row["key"] for row in rows)
        return prepare(self, model, rows)

    monkeypatch.setattr(kind, "prepare", counted)
    return keys


def split_of(material, rows, cache, **fields):
    model = material.task.model({"from-config": material.network}, texts=["a b c"] * 4)
    return PreparedSplit.prepare(material.task, model, rows, cache, **fields)


def files(cache):
    return {path: path.stat().st_mtime_ns for path in sorted(cache.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("count", [1, 7, 8, 9, 100, 1003])
@pytest.mark.parametrize("with_tokens", [False, True])
def test_an_epoch_has_every_item_exactly_once_and_no_batch_is_too_large(count: int, with_tokens: bool):
    tokens = numpy.arange(count) % 37 if with_tokens else None
    batches = shuffled(count, 8, seed=3, epoch=1, tokens=tokens)
    assert sorted(position for batch in batches for position in batch) == list(range(count))
    assert max(map(len, batches)) <= 8
    assert min(map(len, batches)) >= min(count, 4)


def test_the_order_depends_on_seed_and_epoch_alone():
    first = shuffled(100, 8, seed=3, epoch=1)
    assert first == shuffled(100, 8, seed=3, epoch=1)
    assert first != shuffled(100, 8, seed=3, epoch=2)
    assert first != shuffled(100, 8, seed=4, epoch=1)


def test_every_epoch_has_as_many_batches():
    tokens = numpy.random.default_rng(0).integers(3, 80, 1003)
    assert len({len(shuffled(1003, 16, 0, epoch, tokens)) for epoch in range(5)}) == 1


def test_texts_of_like_length_come_together():
    tokens = numpy.random.default_rng(0).integers(3, 200, 2000)

    def useful(batches):
        return tokens.sum() / sum(len(batch) * tokens[batch].max() for batch in batches)

    assert useful(shuffled(2000, 16, 0, 0, tokens)) > 0.9
    assert useful(shuffled(2000, 16, 0, 0)) < 0.7


def test_a_prepared_image_batch_is_what_the_task_prepares(images, cache):
    split = prepared(images, cache)
    batch = split.batch([3, 0])
    assert batch.keys == (images.rows["key"][3], images.rows["key"][0])
    assert batch.inputs["pixel_values"].dtype == torch.uint8
    raw = images.rows.cast_column("image", datasets.Image(decode=False))
    direct = images.task.prepare(split.model, [{**raw[3], "image": raw[3]["image"]["bytes"]}])[0]
    assert torch.equal(batch.inputs["pixel_values"][0], direct["pixel_values"])
    assert batch.targets.tolist() == [images.rows["label"][3], images.rows["label"][0]]


def test_a_prepared_text_batch_is_what_the_task_prepares(texts, cache):
    split = prepared(texts, cache)
    direct = texts.task.batch(texts.task.prepare(split.model, list(texts.rows)), split.model)
    batch = split.batch(range(len(split)))
    assert torch.equal(batch.inputs["input_ids"], direct.inputs["input_ids"])
    assert batch.targets.tolist() == direct.targets.tolist()
    assert batch.tokens == direct.tokens == split.tokens.sum()


def test_evaluation_has_every_item_exactly_once_by_length(texts, cache):
    split = prepared(texts, cache)
    batches = split.in_order(4)
    order = [position for batch in batches for position in batch]
    assert sorted(order) == list(range(len(split)))
    assert split.tokens[order].tolist() == sorted(split.tokens.tolist())


def test_a_second_run_prepares_nothing_again(images, cache):
    prepared(images, cache)
    before = files(cache)
    prepared(images, cache)
    assert before
    assert files(cache) == before


@pytest.mark.parametrize("name", ["pixel_values.bin", "label.bin", "index.json"])
def test_a_damaged_cache_is_made_again(images, cache, name):
    good = prepared(images, cache).batch([0, 1])
    damaged = next(cache.rglob(name))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    again = prepared(images, cache).batch([0, 1])
    assert torch.equal(again.inputs["pixel_values"], good.inputs["pixel_values"])
    assert torch.equal(again.targets, good.targets)


def test_a_cache_file_that_is_cut_short_is_made_again(texts, cache):
    good = prepared(texts, cache).batch([0])
    file = next(cache.rglob("input_ids.bin"))
    file.write_bytes(file.read_bytes()[:-8])
    assert torch.equal(prepared(texts, cache).batch([0]).inputs["input_ids"], good.inputs["input_ids"])


def test_new_labels_or_settings_are_prepared_anew(images, cache):
    prepared(images, cache)
    relabelled = images.rows.map(lambda row: {"label": (row["label"] + 1) % 3})
    model = images.task.model({"from-config": images.network})
    split = PreparedSplit.prepare(images.task, model, relabelled, cache)
    assert split.batch([0]).targets.tolist() == [relabelled["label"][0]]
    larger = images.task.model({"from-config": {**images.network, "image_size": 24}})
    split = PreparedSplit.prepare(images.task, larger, images.rows, cache)
    assert split.batch([0]).inputs["pixel_values"].shape[-1] == 24


def test_using_the_cache_does_not_change_it(images, cache):
    split = prepared(images, cache)
    split.batch([0]).inputs["pixel_values"].zero_()
    split.rows([0])[0]["pixel_values"][:] = 0
    assert prepared(images, cache).batch([0]).inputs["pixel_values"].any()


def test_an_item_that_cannot_be_read_is_named(images, cache):
    rows = list(images.rows.cast_column("image", datasets.Image(decode=False)))
    rows[2]["image"] = {"bytes": b"no image", "path": None}
    broken = datasets.Dataset.from_list(rows, features=images.rows.features)
    model = images.task.model({"from-config": images.network})
    with pytest.raises(TrainingError, match=rows[2]["key"]):
        PreparedSplit.prepare(images.task, model, broken, cache)
    assert {path.name for path in files(cache)} == {"writer.lock"}


def test_a_split_that_grew_prepares_what_is_new_alone(images, cache, calls):
    split_of(images, images.split(0, 5), cache)
    del calls[:]
    grown = split_of(images, images.rows, cache)
    assert sorted(calls) == sorted(images.rows["key"][5:])
    whole = split_of(images, images.rows, cache.with_name("other"))
    order = [6, 0, 5, 1, 4, 2]
    assert torch.equal(grown.batch(order).inputs["pixel_values"], whole.batch(order).inputs["pixel_values"])
    assert grown.batch(order).targets.tolist() == whole.batch(order).targets.tolist()
    assert grown.batch(order).keys == whole.batch(order).keys


def test_a_split_that_shrank_or_was_shuffled_prepares_nothing(images, cache, calls):
    prepared(images, cache)
    del calls[:]
    places = [4, 1, 2]
    split = split_of(images, images.rows.select(places), cache)
    assert not calls
    assert split.keys == tuple(images.rows["key"][place] for place in places)
    assert split.batch([0, 1, 2]).targets.tolist() == [images.rows["label"][place] for place in places]


def test_one_new_label_prepares_one_item(images, cache, calls):
    prepared(images, cache)
    del calls[:]
    labels = list(images.rows["label"])
    labels[3] = (labels[3] + 1) % 3
    features = images.rows.features
    changed = images.rows.remove_columns("label").add_column("label", labels).cast(features)
    split = split_of(images, changed, cache)
    assert calls == [images.rows["key"][3]]
    assert split.batch(range(len(labels))).targets.tolist() == labels


def test_an_item_that_is_there_twice_is_prepared_once(images, cache, calls):
    split = split_of(images, images.rows.select([0, 1, 0]), cache)
    assert sorted(calls) == sorted(images.rows["key"][:2])
    pixels = split.batch([0, 1, 2]).inputs["pixel_values"]
    assert torch.equal(pixels[0], pixels[2])
    assert not torch.equal(pixels[0], pixels[1])


def test_of_a_grown_split_only_the_damaged_segment_is_prepared_again(images, cache, calls):
    split_of(images, images.split(0, 5), cache)
    segment = next(cache.rglob("pixel_values.bin"))
    good = split_of(images, images.rows, cache).batch([0, 6]).inputs["pixel_values"]
    content = bytearray(segment.read_bytes())
    content[7] ^= 1
    segment.write_bytes(content)
    del calls[:]
    again = split_of(images, images.rows, cache).batch([0, 6]).inputs["pixel_values"]
    assert sorted(calls) == sorted(images.rows["key"][:5])
    assert torch.equal(again, good)


def test_preparing_tells_how_far_it_is(images, cache):
    told = []

    class Told(Silent):
        def track(self, what, total=None):
            told.append((what, total))
            return nullcontext(told.append)

    split_of(images, images.rows, cache, progress=Told())
    count = len(images.rows)
    assert told == [("preparing images", count), *[1] * count]
    split_of(images, images.rows, cache, progress=Told())
    assert len(told) == count + 1


def test_a_cache_that_may_hold_nothing_still_serves_the_run_that_fills_it(images, cache):
    split = split_of(images, images.split(0, 4), cache, most_bytes=0)
    other = split_of(images, images.split(4, 8), cache, most_bytes=0)
    assert split.batch([0]).keys != other.batch([0]).keys
    del split, other
    split_of(images, images.split(8, 9), cache, most_bytes=0)
    assert len(list(cache.rglob("pixel_values.bin"))) == 1


def test_images_are_gathered_into_page_locked_memory_for_a_gpu(images, cache):
    split = prepared(images, cache)
    plain = split.batch([2, 1]).inputs["pixel_values"]
    split.pinned = torch.cuda.is_available()
    pixels = split.batch([2, 1]).inputs["pixel_values"]
    assert pixels.is_pinned() == torch.cuda.is_available()
    assert torch.equal(pixels, plain)


def test_a_tokenizer_that_was_used_prepares_in_the_same_way(texts, cache):
    model = texts.task.model({"from-config": texts.network}, texts=["a b c"] * 4, settings={"max_length": 8})
    long = texts.rows.map(lambda row: {"text": row["text"] * 20})
    PreparedSplit.prepare(texts.task, model, long.select(range(3)), cache)
    model.processor("a", padding="max_length", truncation=True, max_length=5)
    PreparedSplit.prepare(texts.task, model, long, cache)
    assert len(list((cache / "prepared").iterdir())) == 1


@pytest.mark.parametrize("kind", tasks.names())
def test_batches_of_every_task_are_those_of_its_rows_one_by_one(kind, cache):
    task = tasks.create(tasks.get(kind).example_config())
    features = {**task.features(), "key": datasets.Value("string")}
    rows = datasets.Dataset.from_list(
        [
            {
                "key": each.item.key,
                task.modality: {"bytes": each.content, "path": None} if each.content else each.item.text,
                **task.to_row(each.target),
            }
            for each in task.examples()
        ],
        features=datasets.Features(features),
    )
    model = task.example_model()
    PreparedSplit.prepare(task, model, rows.select(range(2)), cache)
    split = PreparedSplit.prepare(task, model, rows, cache)
    order = list(range(len(rows)))[::-1]
    for chosen in (order, order[:1], order[-2:]):
        plain = [dict(row) for row in split.rows(chosen)]
        assert all("item_digest" not in row for row in plain)
        same(split.batch(chosen), task.batch(plain, model))


def same(one, other):
    """Whether two batches are equal to the bit."""
    assert one.keys == other.keys
    assert (one.tokens, one.padded_tokens) == (other.tokens, other.padded_tokens)
    equal(one.inputs, other.inputs)
    equal(one.targets, other.targets)
    equal(one.context, other.context)


def equal(one, other):
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, numpy.ndarray):
        assert one.dtype == other.dtype
        assert numpy.array_equal(one, other)
    elif isinstance(one, Mapping):
        assert sorted(one) == sorted(other)
        for name in one:
            equal(one[name], other[name])
    elif isinstance(one, Sequence) and not isinstance(one, str):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            equal(left, right)
    else:
        assert one == other
