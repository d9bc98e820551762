"""Each item gets exactly one outcome, whatever annotators did."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goldloop.quality.consensus import Settlement, settle
from goldloop.records import Annotation, Item, content_key
from goldloop.tasks import tasks

TASK = tasks.create({"kind": "text-classification", "classes": ["a", "b", "c"]})


def item(text: str = "a text", **fields: Any) -> Item:
    key = content_key(text.encode())
    facts = {"modality": "text", "uri": text, "group": key, "source": "0:table", "media_type": "text/plain"}
    return Item(key=key, text=text, **(facts | fields))


def act(of: Item, annotator: str, target: str | None, number: int = 1, **fields: Any) -> Annotation:
    """An answer; a skip where the target is None; what cannot be decoded where it is no class."""
    known = target in TASK.classes
    results = TASK.encode(target, of) if known and target is not None else []
    facts: dict[str, Any] = {
        "updated_at": f"2026-01-01T00:00:{number:02}Z",
        "created_at": "2026-01-01T00:00:00Z",
        "cancelled": target is None,
        "results": tuple(results),
    }
    return Annotation(**({"id": number} | facts | fields), task_id=1, key=of.key, annotator=annotator)


def outcome(settlement: Settlement) -> tuple[str, str]:
    (only,) = settlement.outcomes
    return only.outcome, only.reason


def test_two_who_agree_make_a_label():
    one = item()
    settled = settle(TASK, [one], [act(one, "y", "a"), act(one, "x", "a", 2)], "majority", 2)
    assert outcome(settled) == ("labelled", "")
    (label,) = settled.labels
    assert (label.key, label.target, label.annotators) == (one.key, "a", ("x", "y"))
    assert (label.agreement, label.provenance, label.shown_models) == (1.0, "human", ())


def test_two_who_differ_are_disputed_with_their_votes():
    one = item()
    settled = settle(TASK, [one], [act(one, "x", "b"), act(one, "y", "a")], "majority", 2)
    assert outcome(settled) == ("disputed", "annotators disagree: a 1, b 1")
    assert settled.labels == ()
    assert (settled.agreement.mean, settled.agreement.items) == (0.0, 1)
    assert settled.answers == {one.key: {"x": "b", "y": "a"}}


def test_an_import_that_nobody_changed_stays_imported_until_a_person_answers():
    one = item()
    alone = settle(TASK, [one], [act(one, "imported", "a")], "majority", 1)
    with_person = settle(TASK, [one], [act(one, "imported", "a"), act(one, "x", "a", 2)], "majority", 2)
    assert [(label.provenance, label.annotators) for label in alone.labels] == [("imported", ())]
    assert [(label.provenance, label.annotators) for label in with_person.labels] == [("human", ("x",))]


def test_a_majority_is_enough_for_one_policy_and_not_for_the_other():
    one = item()
    acts = [act(one, "x", "a"), act(one, "y", "a"), act(one, "z", "b")]
    majority = settle(TASK, [one], acts, "majority", 3)
    assert majority.labels[0].target == "a"
    assert majority.labels[0].agreement == pytest.approx(1 / 3)
    assert outcome(settle(TASK, [one], acts, "unanimous", 3)) == (
        "disputed",
        "annotators disagree: a 2, b 1",
    )


def test_too_few_answers_leave_an_item_open():
    one = item()
    assert outcome(settle(TASK, [one], [act(one, "x", "a")], "majority", 2)) == ("open", "1 of 2 annotators")
    assert outcome(settle(TASK, [one], [], "majority", 2)) == ("open", "0 of 2 annotators")


def test_a_skip_is_no_answer():
    one = item()
    acts = [act(one, "x", "a"), act(one, "y", None)]
    assert outcome(settle(TASK, [one], acts, "majority", 2)) == ("open", "1 of 2 annotators")
    assert outcome(settle(TASK, [one], acts[1:], "majority", 2)) == ("skipped", "skipped by 1")


def test_the_latest_act_of_an_annotator_counts():
    one = item()
    changed = [act(one, "x", "b", 5), act(one, "x", "a", 3)]
    assert settle(TASK, [one], changed, "majority", 1).labels[0].target == "b"
    taken_back = [act(one, "x", "a", 1), act(one, "x", None, 2)]
    assert outcome(settle(TASK, [one], taken_back, "majority", 1)) == ("skipped", "skipped by 1")


def test_times_are_compared_as_times():
    one = item()
    earlier = act(one, "x", "a", 9, updated_at="2026-01-01T12:00:00Z")
    later = act(one, "x", "b", 8, updated_at="2026-01-01T12:00:00.500000Z")
    assert settle(TASK, [one], [later, earlier], "majority", 1).labels[0].target == "b"


def test_an_annotation_that_cannot_be_decoded_rejects_its_item_and_the_rest_goes_on():
    one, other = item(), item("another")
    acts = [act(one, "x", "nothing known"), act(other, "x", "c")]
    settled = settle(TASK, [one, other], acts, "majority", 1)
    assert [label.key for label in settled.labels] == [other.key]
    reasons = {each.subject: (each.outcome, each.reason) for each in settled.outcomes}
    assert reasons[one.key][0] == "rejected"
    assert one.key in reasons[one.key][1]
    assert "no class was chosen" in reasons[one.key][1]


def test_an_imported_label_enters_where_nobody_answered():
    known = item(label="b", label_use="imported")
    settled = settle(TASK, [known], [act(known, "x", None)], "majority", 2)
    assert outcome(settled) == ("imported", "")
    (label,) = settled.labels
    assert (label.target, label.annotators, label.agreement) == ("b", (), None)
    assert label.provenance == "imported"


def test_people_go_before_an_imported_label():
    known = item(label="b", label_use="imported")
    settled = settle(TASK, [known], [act(known, "x", "a")], "majority", 1)
    assert (settled.labels[0].target, settled.labels[0].provenance) == ("a", "human")


def test_an_imported_label_of_a_class_that_is_gone_is_rejected():
    known = item(label="zebra", label_use="imported")
    name, reason = outcome(settle(TASK, [known], [], "majority", 1))
    assert name == "rejected"
    assert "zebra" in reason


def test_a_hidden_truth_never_becomes_a_label():
    secret = item(label="b", label_use="truth")
    assert outcome(settle(TASK, [secret], [], "majority", 1)) == ("open", "0 of 1 annotators")


def test_who_was_shown_a_model_has_seen_it_in_whichever_act():
    one = item()
    acts = [
        act(one, "x", "a", 1, shown_model="signs/2"),
        act(one, "x", "b", 2),
        act(one, "y", "b", 3, shown_model="signs/1"),
    ]
    (label,) = settle(TASK, [one], acts, "majority", 2).labels
    assert (label.provenance, label.shown_models) == ("human-over-prediction", ("signs/1", "signs/2"))


def test_who_skipped_shows_the_label_nothing():
    one = item()
    acts = [act(one, "x", "a"), act(one, "y", None, shown_model="signs/1")]
    assert settle(TASK, [one], acts, "majority", 1).labels[0].provenance == "human"


ACTS = st.lists(
    st.tuples(
        st.integers(0, 5), st.sampled_from("xyz"), st.sampled_from(["a", "b", None, "?"]), st.integers(0, 59)
    ),
    max_size=25,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ACTS, st.integers(1, 3), st.sampled_from(["majority", "unanimous"]), st.randoms())
def test_every_item_has_one_outcome_and_the_order_of_acts_does_not_matter(
    acts, needed, policy, order: random.Random
):
    items = [item(f"text {number}", label="a", label_use="imported") for number in range(2)]
    items += [item(f"text {number}") for number in range(2, 6)]
    annotations = [
        act(items[which], annotator, target, number, id=place)
        for place, (which, annotator, target, number) in enumerate(acts)
    ]
    settled = settle(TASK, items, annotations, policy, needed)
    assert sorted(each.subject for each in settled.outcomes) == sorted(each.key for each in items)
    named = {"labelled", "imported"}
    with_label = [each.subject for each in settled.outcomes if each.outcome in named]
    assert with_label == [label.key for label in settled.labels]
    order.shuffle(items)
    order.shuffle(annotations)
    assert settle(TASK, items, annotations, policy, needed) == settled
