from __future__ import annotations

import datasets
import numpy
import pytest
import torch

from goldloop.errors import TrainingError
from goldloop.training.data import PreparedSplit, shuffled


def prepared(material, cache):
    model = material.task.model({"from-config": material.network}, texts=["a b c"] * 4)
    return PreparedSplit.prepare(material.task, model, material.rows, cache)


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
    split._columns.row(0)["pixel_values"][:] = 0
    assert prepared(images, cache).batch([0]).inputs["pixel_values"].any()


def test_an_item_that_cannot_be_read_is_named(images, cache):
    rows = list(images.rows.cast_column("image", datasets.Image(decode=False)))
    rows[2]["image"] = {"bytes": b"no image", "path": None}
    broken = datasets.Dataset.from_list(rows, features=images.rows.features)
    model = images.task.model({"from-config": images.network})
    with pytest.raises(TrainingError, match=rows[2]["key"]):
        PreparedSplit.prepare(images.task, model, broken, cache)
    assert not files(cache)
