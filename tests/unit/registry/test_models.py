from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from goldloop.errors import GateRefused, ModelError
from goldloop.inference import Predictor
from goldloop.registry.models import Registry

WRITES = (
    "create_registered_model",
    "create_model_version",
    "create_run",
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "set_registered_model_tag",
    "delete_registered_model_tag",
    "set_model_version_tag",
    "log_artifacts",
)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def die_at(monkeypatch) -> Callable[[int | None], None]:
    """Let MLflow's writes up to the given one happen, and no more; None lets all happen."""
    left: list[int | None] = [None]

    def guarded(whole):
        def write(*arguments, **named):
            if left[0] is not None:
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
            return whole(*arguments, **named)

        return write

    for name in WRITES:
        monkeypatch.setattr(MlflowClient, name, guarded(getattr(MlflowClient, name)))

    def set_limit(limit: int | None) -> None:
        left[0] = limit

    return set_limit


def aliases(registry: Registry, name: str = "mail") -> dict[str, int]:
    return {alias: model.number for model in registry.models(name) for alias in model.aliases}


def test_a_registered_model_says_what_it_is_made_from(registry, register):
    model = register("run-a")
    assert model.ref == "mail/1"
    assert (model.run, model.version, model.metric, model.value) == ("run-a", "mail@abc", "accuracy", 0.875)
    assert model.aliases == ("challenger",)
    assert model.created_at.endswith("+00:00")
    assert json.loads(json.dumps(model.facts()))["ref"] == "mail/1"


def test_a_run_is_registered_once_however_often_it_is_asked(registry, folder):
    place = folder("run-a")
    fields = {"run": "run-a", "version": "mail@abc", "metric": "accuracy", "value": None}
    first = registry.register("mail", place, **fields)
    assert registry.register("mail", place, **fields) == first
    assert first.value is None
    assert len(registry.models("mail")) == 1


def test_the_model_that_is_downloaded_answers(registry, register):
    folder = registry.download(register("run-a"))
    assert Predictor.load(folder).predict(["This one is about billing."])[0].confidence > 0


def test_a_folder_that_is_gone_is_named(registry, folder):
    import shutil

    place = folder("run-a")
    model = registry.register("mail", place, run="run-a", version="v", metric="accuracy", value=1)
    shutil.rmtree(place)
    with pytest.raises(ModelError, match=r"mail/1: the model's folder is gone"):
        registry.download(model)


def test_models_are_found_by_name_number_alias_and_latest(registry, register, passed, report):
    first, second = register("run-a"), register("run-b")
    registry.promote(first, [passed], report)
    assert registry.find("mail").number == 1
    assert registry.find("mail/champion").number == 1
    assert registry.find("mail/latest") == registry.find("mail/2") == registry.find("mail/challenger")
    assert registry.of_run("mail", "run-b") == second
    assert registry.challenger("mail") == second


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("post", r"post: no model is registered under this name \(expected one of mail\)"),
        ("mail/7", r"mail/7: there is no such model \(expected mail/latest or a number: 1\)"),
        ("mail", r"mail: no model is champion yet\. Promote one"),
        ("it's/1", "no model is registered under this name"),
    ],
)
def test_a_model_that_there_is_not_is_refused_with_those_there_are(registry, register, model, said):
    register("run-a")
    with pytest.raises(ModelError, match=said):
        registry.find(model)


def test_a_run_that_is_not_registered_is_named(registry):
    with pytest.raises(ModelError, match="mail, run x: the run's model is not registered"):
        registry.of_run("mail", "x")


def test_models_of_all_names_are_listed_and_those_of_others_are_not(registry, register, uri):
    register("run-a", "mail")
    register("run-b", "signs")
    client = MlflowClient(uri, uri)
    client.create_registered_model("theirs")
    client.create_model_version("theirs", "file:///elsewhere")
    assert [model.ref for model in registry.models()] == ["mail/1", "signs/1"]
    assert [model.aliases for model in registry.models()] == [("challenger",), ("challenger",)]
    assert registry.models("theirs") == []
    assert registry.champion("theirs") is None


def test_promotion_makes_a_champion_and_keeps_the_former_one(registry, register, passed, report):
    first, second = register("run-a"), register("run-b")
    assert registry.champion("mail") is None
    registry.promote(first, [passed], report)
    assert registry.promote(second, [passed], report).aliases == ("champion",)
    assert aliases(registry) == {"champion": 2, "previous": 1}
    assert registry.challenger("mail") is None


def test_promoting_the_champion_changes_nothing(registry, register, passed, refused, report):
    first, second = register("run-a"), register("run-b")
    registry.promote(first, [passed], report)
    registry.promote(second, [passed], report)
    assert registry.promote(second, [refused], report).aliases == ("champion",)
    assert aliases(registry) == {"champion": 2, "previous": 1}


def test_a_refused_model_is_not_promoted_and_every_gate_is_named(registry, register, passed, refused, report):
    first, second = register("run-a"), register("run-b")
    registry.promote(first, [passed], report)
    also = refused.model_copy(update={"gate": "another", "explanation": "not enough"})
    with pytest.raises(GateRefused) as caught:
        registry.promote(second, [passed, refused, also], report)
    assert "mail/2: 2 of 3 gates refuse the model" in str(caught.value)
    assert "at-least accuracy 0.95: 0.050 below 0.95" in str(caught.value)
    assert "another: not enough" in str(caught.value)
    assert aliases(registry) == {"champion": 1, "challenger": 2}


def test_an_override_promotes_and_is_recorded_with_who_and_why(registry, register, refused, report, uri):
    model = register("run-a")
    registry.promote(model, [refused], report, override=("ada", "the old one is on fire"))
    assert aliases(registry) == {"champion": 1}
    client = MlflowClient(uri, uri)
    kept = client.get_model_version("mail", "1")
    assert kept.tags["goldloop.override"] == "ada: the old one is on fire"
    assert kept.tags["goldloop.gates"] == "at-least accuracy 0.95: refused"
    place = Path(client.download_artifacts(kept.run_id, "judged/0123456789ab-test"))
    judgement = json.loads((place / "gates.json").read_text())
    assert judgement["override"] == {"by": "ada", "reason": "the old one is on fire"}
    assert judgement["verdicts"] == [refused.model_dump(mode="json")]
    assert (place / "report" / "report.html").exists()
    assert "the old one is on fire" in (place / "README.md").read_text()
    assert "the old one is on fire" in (registry.download(model) / "README.md").read_text()


def test_rollback_changes_champion_and_former_champion_and_back(registry, register, passed, report):
    first, second = register("run-a"), register("run-b")
    registry.promote(first, [passed], report)
    registry.promote(second, [passed], report)
    assert registry.rollback("mail").number == 1
    assert aliases(registry) == {"champion": 1, "previous": 2}
    assert registry.rollback("mail").number == 2
    assert aliases(registry) == {"champion": 2, "previous": 1}


def test_rollback_without_a_former_champion_says_so(registry, register, passed, report):
    with pytest.raises(ModelError, match="no model is registered under this name"):
        registry.rollback("mail")
    model = register("run-a")
    with pytest.raises(ModelError, match=r"no former champion to go back to \(found no champion\)"):
        registry.rollback("mail")
    registry.promote(model, [passed], report)
    with pytest.raises(ModelError, match=r"found champion mail/1"):
        registry.rollback("mail")


def _until_done(work: Callable[[], object], die_at: Callable[[int | None], None]) -> int:
    """Do work over and over, killed after no, one, two ... writes, until it comes to its end."""
    for writes in range(40):
        die_at(writes)
        try:
            work()
        except Killed:
            continue
        die_at(None)
        return writes
    raise AssertionError("it never ends")


def test_a_registration_killed_at_any_write_ends_as_one_that_was_not(registry, register, folder, die_at):
    place = folder("run-a")

    def work():
        registry.register("mail", place, run="run-a", version="v", metric="accuracy", value=1)

    assert _until_done(work, die_at) > 0
    assert [(model.number, model.aliases) for model in registry.models()] == [(1, ("challenger",))]


@pytest.mark.parametrize("killed_at", range(9))
def test_a_promotion_killed_at_any_write_ends_as_one_that_was_not(
    registry, register, passed, report, die_at, killed_at
):
    first, second, third = register("run-a"), register("run-b"), register("run-c")
    registry.promote(first, [passed], report)
    registry.promote(second, [passed], report)
    die_at(killed_at)
    try:
        registry.promote(third, [passed], report)
    except Killed:
        assert registry.champion("mail").number in (2, 3)
    die_at(None)
    registry.promote(third, [passed], report)
    assert aliases(registry) == {"champion": 3, "previous": 2}


@pytest.mark.parametrize("killed_at", [1, 2, 3])
def test_a_rollback_killed_after_its_first_write_is_ended_by_the_next(
    registry, register, passed, report, die_at, killed_at
):
    first, second = register("run-a"), register("run-b")
    registry.promote(first, [passed], report)
    registry.promote(second, [passed], report)
    die_at(killed_at)
    with pytest.raises(Killed):
        registry.rollback("mail")
    die_at(None)
    assert registry.rollback("mail").number == 1
    assert aliases(registry) == {"champion": 1, "previous": 2}


def test_a_promotion_ends_a_rollback_that_was_killed(registry, register, passed, report, die_at):
    first, second, third = register("run-a"), register("run-b"), register("run-c")
    registry.promote(first, [passed], report)
    registry.promote(second, [passed], report)
    die_at(2)
    with pytest.raises(Killed):
        registry.rollback("mail")
    die_at(None)
    registry.promote(third, [passed], report)
    assert aliases(registry) == {"champion": 3, "previous": 1}


def test_the_last_write_of_a_promotion_is_among_those_that_were_cut(
    registry, register, passed, report, die_at
):
    first, second = register("run-a"), register("run-b")
    registry.promote(first, [passed], report)
    die_at(8)
    registry.promote(second, [passed], report)
