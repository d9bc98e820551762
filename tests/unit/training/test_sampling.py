import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.training.sampling import dealt, packed_shape, parts_of, shuffled

GENERATOR = numpy.random.default_rng(0)
SHORT = numpy.clip(GENERATOR.lognormal(2.7, 0.5, 3000).astype(int), 5, 98)
MIXED = numpy.clip(GENERATOR.lognormal(4.15, 0.85, 3000).astype(int), 5, 512)

lengths = st.lists(st.integers(1, 512), max_size=120).map(numpy.array)


def sums(batches, tokens):
    return numpy.array([tokens[batch].sum() for batch in batches])


@settings(deadline=None, max_examples=60)
@given(tokens=lengths, size=st.integers(1, 40), seed=st.integers(0, 2**40), epoch=st.integers(0, 99))
@pytest.mark.parametrize("sampling", [shuffled, dealt])
def test_every_position_is_in_one_batch_and_batches_differ_in_size_by_one_at_most(
    sampling, tokens, size, seed, epoch
):
    tokens = tokens.astype(numpy.int64)
    batches = sampling(len(tokens), size, seed, epoch, tokens)

    assert sorted(position for batch in batches for position in batch) == list(range(len(tokens)))
    assert len(batches) == -(-len(tokens) // size)
    assert max(map(len, batches), default=0) <= size
    assert max(map(len, batches), default=0) - min(map(len, batches), default=0) <= 1
    assert batches == sampling(len(tokens), size, seed, epoch, tokens)


@pytest.mark.parametrize("sampling", [shuffled, dealt])
def test_another_seed_or_epoch_gives_other_batches(sampling):
    first = sampling(len(MIXED), 32, 0, 0, MIXED)

    for seed, epoch in ((0, 1), (1, 0)):
        other = sampling(len(MIXED), 32, seed, epoch, MIXED)
        assert {frozenset(batch) for batch in first}.isdisjoint(frozenset(batch) for batch in other)


@pytest.mark.parametrize("tokens", [SHORT, MIXED], ids=["short", "mixed"])
def test_dealt_batches_have_nearly_as_many_tokens_each(tokens):
    found = sums(dealt(len(tokens), 32, 0, 0, tokens), tokens)
    random = sums(shuffled(len(tokens), 32, 0, 0), tokens)

    assert found.max() < 1.12 * found.mean()
    assert found.std() < random.std() / 4


@pytest.mark.parametrize("tokens", [SHORT, MIXED], ids=["short", "mixed"])
def test_parts_of_a_dealt_batch_have_more_alike_sums_than_parts_at_random(tokens):
    def spread(batches):
        return numpy.std([tokens[part].sum() for batch in batches for part in numpy.array_split(batch, 4)])

    assert spread(dealt(len(tokens), 32, 0, 0, tokens)) < spread(shuffled(len(tokens), 32, 0, 0)) / 1.5


def test_a_text_is_in_any_dealt_batch_and_beside_any_other_alike():
    tokens = numpy.repeat([1, 3, 9, 27], 4)
    counts = numpy.zeros((16, 4))
    together = numpy.zeros((16, 16))
    for epoch in range(3000):
        for number, batch in enumerate(dealt(16, 4, 0, epoch, tokens)):
            counts[batch, number] += 1
            together[numpy.ix_(batch, batch)] += 1

    assert abs(counts / 3000 - 1 / 4).max() < 0.04
    # One text of each length is in every batch, and any of them beside any.
    other = tokens[:, None] != tokens
    assert (together[(tokens[:, None] == tokens) & ~numpy.eye(16, dtype=bool)] == 0).all()
    assert abs(together[other] / 3000 - 1 / 4).max() < 0.04


def test_parts_are_as_few_as_fit_and_as_even_as_can_be():
    assert [len(part) for part in parts_of(numpy.arange(10), 4)] == [4, 3, 3]
    assert parts_of(numpy.arange(0), 4) == []


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_the_packed_shape_has_room_for_every_part_of_every_batch_and_little_more(parts):
    epochs = [dealt(len(MIXED), 32, 0, epoch, MIXED) for epoch in range(3)]
    width, texts = packed_shape(epochs, MIXED, parts)
    sizes = [
        MIXED[part].sum()
        for batches in epochs
        for batch in batches
        for part in numpy.array_split(batch, parts)
    ]

    assert texts == 32 // parts
    assert width % 64 == 0
    assert width - 64 < max(sizes) <= width
