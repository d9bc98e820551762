from hypothesis import given
from hypothesis import strategies as st

from goldloop.dataset.classes import extended

NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(st.lists(NAMES, min_size=1, max_size=5))
def test_ids_never_move_whatever_recipes_say_later(recipes):
    registry = ()
    for wanted in recipes:
        longer = extended(registry, wanted)
        assert longer[: len(registry)] == registry
        assert set(longer) == {*registry, *wanted}
        assert len(set(longer)) == len(longer)
        registry = longer


def test_new_classes_follow_in_the_recipes_order_and_old_ones_stay():
    assert extended(("cat", "dog"), ("zebra", "dog", "ant")) == ("cat", "dog", "zebra", "ant")
