"""Dawid and Skene, named reviewers, and items that were sent back."""

import random
from typing import Any

import pytest

from goldloop.dataset.config import DatasetConfig
from goldloop.errors import RecipeError
from goldloop.quality.consensus import Settlement, settle
from goldloop.quality.dawid_skene import posteriors
from goldloop.records import Annotation, Item, Reopened, content_key
from goldloop.tasks import tasks

TASK = tasks.create({"kind": "text-classification", "classes": ["a", "b", "c"]})
BOXES = tasks.create({"kind": "object-detection", "classes": ["cell", "dust"]})
TAGS = tasks.create({"kind": "text-multilabel", "classes": ["a", "b"]})


def item(text: str = "a text", **fields: Any) -> Item:
    key = content_key(text.encode())
    facts = {"modality": "text", "uri": text, "group": key, "source": "0:table", "media_type": "text/plain"}
    return Item(key=key, text=text, **(facts | fields))


def act(of: Item, annotator: str, target: str | None, number: int = 1, **fields: Any) -> Annotation:
    """An answer, or a skip where the target is None; the number is its id and its second."""
    facts: dict[str, Any] = {
        "updated_at": f"2026-01-01T00:00:{number:02}Z",
        "created_at": "2026-01-01T00:00:00Z",
        "cancelled": target is None,
        "results": tuple(TASK.encode(target, of)) if isinstance(target, str) else (),
    }
    return Annotation(id=number, task_id=1, key=of.key, annotator=annotator, **(facts | fields))


def outcome(settlement: Settlement) -> tuple[str, str]:
    (only,) = settlement.outcomes
    return only.outcome, only.reason


def crowd(people: dict[str, float], count: int = 120):
    """Items, their truth, and answers of people who are right so often."""
    chance = random.Random(0)
    items = [item(f"text {number}") for number in range(count)]
    truth = {one.key: chance.choice("ab") for one in items}
    acts = [
        act(one, name, truth[one.key] if chance.random() < right else {"a": "b", "b": "a"}[truth[one.key]], n)
        for one in items
        for n, (name, right) in enumerate(people.items(), 1)
    ]
    return items, truth, acts


def test_one_careful_annotator_outweighs_two_who_guess():
    items, truth, acts = crowd({"careful": 0.97, "careful too": 0.95, "guesses": 0.5, "guesses too": 0.5})

    def right(policy):
        labels = settle(TASK, items, acts, policy, 1).labels
        return sum(label.target == truth[label.key] for label in labels)

    weighed, counted = right("dawid-skene"), right("majority")
    assert weighed > counted
    assert weighed >= 0.9 * len(items)


def test_the_probability_is_kept_with_the_label_and_is_always_the_same():
    items, _, acts = crowd({"x": 0.9, "y": 0.8, "z": 0.7})
    one = settle(TASK, items, acts, "dawid-skene", 3)
    other = settle(TASK, items[::-1], acts[::-1], "dawid-skene", 3)

    assert one.labels == other.labels
    assert all(0.5 < label.confidence <= 1 for label in one.labels)
    assert all(label.confidence is None for label in settle(TASK, items, acts, "majority", 3).labels)


def test_what_is_as_likely_as_not_is_disputed_and_says_so():
    one, other, third = item("one"), item("other"), item("third")
    acts = [act(one, "x", "a"), act(one, "y", "b", 2), act(other, "x", "a"), act(other, "y", "a", 2)]
    acts += [act(third, "x", "b"), act(third, "y", "b", 2)]
    settled = settle(TASK, [one, other, third], acts, "dawid-skene", 2)
    reasons = {each.subject: each for each in settled.outcomes}
    assert reasons[other.key].outcome == "labelled"
    disputed = reasons[one.key]
    assert disputed.outcome == "disputed"
    assert disputed.reason == "annotators disagree: a 1, b 1; as likely as one another: a 50%, b 50%"


def test_one_and_the_same_answer_everywhere_is_certain():
    assert posteriors({"1": {"x": "a", "y": "a"}, "2": {"x": "a"}}) == {"1": {"a": 1.0}, "2": {"a": 1.0}}
    assert posteriors({}) == {}


def test_sets_of_classes_are_weighed_class_by_class():
    chance = random.Random(2)
    items = [item(f"text {number}") for number in range(60)]
    truth = {one.key: sorted(chance.sample("ab", chance.randrange(3))) for one in items}
    acts = []
    for one in items:
        for number, (name, right) in enumerate({"x": 0.98, "y": 0.95, "z": 0.5}.items(), 1):
            target = (
                truth[one.key] if chance.random() < right else chance.choice([[], ["a"], ["b"], ["a", "b"]])
            )
            facts = {"results": tuple(TAGS.encode(target, one)), "cancelled": False}
            acts.append(act(one, name, "a", number, **facts))

    labels = settle(TAGS, items, acts, "dawid-skene", 3).labels

    assert sum(label.target == truth[label.key] for label in labels) >= 55


def test_answers_that_are_more_than_classes_are_refused_with_what_else_there_is():
    with pytest.raises(RecipeError, match=r"object-detection.*reviewer: NAME"):
        settle(BOXES, [], [], "dawid-skene", 1)


def test_the_reviewers_answer_is_the_label_whatever_others_say_and_without_it_the_others_decide():
    one, other = item("one"), item("other")
    acts = [act(one, "x", "a"), act(one, "y", "a"), act(one, "boss", "b"), act(other, "x", "c")]
    acts.append(act(other, "y", "c"))
    settled = settle(TASK, [one, other], acts, "majority", 2, reviewer="boss")
    labels = {label.key: label for label in settled.labels}
    assert (labels[one.key].target, labels[one.key].annotators) == ("b", ("boss",))
    assert labels[one.key].agreement == pytest.approx(1 / 3)
    assert (labels[other.key].target, labels[other.key].annotators) == ("c", ("x", "y"))
    assert settled.answers[one.key] == {"boss": "b", "x": "a", "y": "a"}


def test_a_reviewer_is_a_pseudonym_or_an_address_which_is_never_written_down():
    config = DatasetConfig.model_validate({"consensus": {"reviewer": " ada@example.com "}})
    assert config.consensus.reviewer == "ada@example.com"
    written = config.model_dump_json()
    assert "ada" not in written
    assert DatasetConfig.model_validate_json(written).consensus.reviewer == "hidden@goldloop.invalid"
    known = DatasetConfig.model_validate({"consensus": {"reviewer": "annotator-0a1b2c3d"}})
    assert "annotator-0a1b2c3d" in known.model_dump_json()
    with pytest.raises(ValueError, match="no pseudonym"):
        DatasetConfig.model_validate({"consensus": {"reviewer": "Ada"}})
    with pytest.raises(ValueError, match=r"dawid-skene or \{reviewer: NAME\}, not 'dawidskene'"):
        DatasetConfig.model_validate({"consensus": "dawidskene"})


def sent(one, acts, given, **fields) -> dict[str, Reopened]:
    known = frozenset((each.id, each.updated_at) for each in acts)
    return {one.key: Reopened(key=one.key, reason="doubt", given=given, known=known, **fields)}


def test_an_item_that_was_sent_back_keeps_its_label_until_somebody_answers():
    one = item()
    acts = [act(one, "x", "a", 1), act(one, "y", "a", 2)]
    settled = settle(TASK, [one], acts, "majority", 2, reopened=sent(one, acts, "a"))
    assert settled.labels[0].target == "a"
    (reviewed,) = settled.reviewed
    assert (reviewed.outcome, reviewed.before, reviewed.after, reviewed.reviewers) == ("open", "a", "a", ())


@pytest.mark.parametrize(("answer", "what"), [("a", "confirmed"), ("b", "changed")])
def test_the_later_answer_decides_and_the_earlier_ones_stay_on_record(answer, what):
    one = item()
    acts = [act(one, "x", "a", 1), act(one, "y", "a", 2)]
    later = [*acts, act(one, "z", answer, 3)]
    settled = settle(TASK, [one], later, "majority", 2, reopened=sent(one, acts, "a"))
    (label,) = settled.labels
    assert (label.target, label.annotators, label.provenance) == (answer, ("z",), "human")
    (reviewed,) = settled.reviewed
    assert (reviewed.outcome, reviewed.after, reviewed.reviewers) == (what, answer, ("z",))
    assert settled.answers[one.key] == {"x": "a", "y": "a", "z": answer}
    # What was given after a doubt was raised is not given independently.
    assert settled.agreement.items == 1
    assert settled.agreement.mean == 1
    assert set(settled.agreement.annotators) == {"x", "y"}


def test_an_annotation_that_its_annotator_has_changed_since_is_a_later_answer():
    one = item()
    acts = [act(one, "x", "a", 1)]
    changed = [act(one, "x", "c", 1, updated_at="2026-02-01T00:00:00Z")]
    settled = settle(TASK, [one], changed, "majority", 1, reopened=sent(one, acts, "a"))
    assert settled.labels[0].target == "c"
    assert settled.reviewed[0].outcome == "changed"


def test_two_who_look_again_and_differ_leave_it_disputed():
    one = item()
    acts = [act(one, "x", "a", 1)]
    later = [*acts, act(one, "y", "b", 2), act(one, "z", "c", 3)]
    settled = settle(TASK, [one], later, "majority", 1, reopened=sent(one, acts, "a"))
    assert outcome(settled)[0] == "disputed"
    assert (settled.reviewed[0].outcome, settled.reviewed[0].after) == ("disputed", None)


def test_a_skip_is_no_second_look():
    one = item()
    acts = [act(one, "x", "a", 1)]
    later = [*acts, act(one, "y", None, 2)]
    settled = settle(TASK, [one], later, "majority", 1, reopened=sent(one, acts, "a"))
    assert settled.labels[0].target == "a"
    assert settled.reviewed[0].outcome == "open"


def test_who_was_told_what_a_model_says_has_seen_it():
    one = item()
    acts = [act(one, "x", "a", 1)]
    later = [*acts, act(one, "y", "b", 2)]
    told = sent(one, acts, "a", shown_model="suspects of notes@1")
    (label,) = settle(TASK, [one], later, "majority", 1, reopened=told).labels
    assert (label.provenance, label.shown_models) == ("human-over-prediction", ("suspects of notes@1",))


def test_an_imported_label_that_got_a_task_to_be_looked_at_stays_imported():
    one = item(label="b", label_use="imported")
    acts = [act(one, "imported", "b", 1)]
    settled = settle(TASK, [one], acts, "majority", 2, reopened=sent(one, acts, "b"))
    assert outcome(settled) == ("imported", "")
    seen = settle(TASK, [one], [*acts, act(one, "x", "a", 2)], "majority", 2, reopened=sent(one, acts, "b"))
    assert (seen.labels[0].target, seen.labels[0].annotators) == ("a", ("x",))
