"""Simulated annotators on a real Label Studio."""

import random
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from goldloop.errors import LabelStudioError
from goldloop.labeling.client import LabelStudioClient
from goldloop.labeling.collected import pseudonym
from goldloop.labeling.server import Access
from goldloop.labeling.simulate import Persona, SimulationReport, simulate
from goldloop.labeling.values import Project, TaskData

pytestmark = pytest.mark.e2e

PSEUDONYM_KEY = b"k" * 32
CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text">'
    '<Choice value="yes"/><Choice value="no"/></Choices></View>'
)
PERSONAS = [
    Persona(name="simulated-annotator-1", error_rate=0.3, seed=1),
    Persona(name="simulated-annotator-2", error_rate=0.0, seed=2),
]
KEYS = [f"{number:064x}" for number in range(24)]


def answer(key: str, wrong: bool, chance: random.Random) -> list[dict[str, Any]]:
    choice = "no" if wrong else "yes"
    return [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}]


@pytest.fixture
def client(label_studio: Access) -> LabelStudioClient:
    return LabelStudioClient(label_studio.url, label_studio.api_key, pseudonym_key=PSEUDONYM_KEY)


@pytest.fixture
def project(client: LabelStudioClient) -> Project:
    return new_project(client)


def new_project(client: LabelStudioClient) -> Project:
    mark = f"goldloop:{secrets.token_hex(8)}/test"
    project = client.ensure_project(mark, title="simulation", label_config=CONFIG, annotators_per_item=2)
    client.import_tasks(project, [TaskData(key=key, data={"text": key[-4:]}) for key in KEYS], "all")
    return project


def work(
    access: Access, project: Project, personas: Sequence[Persona] = PERSONAS, **options: Any
) -> SimulationReport:
    return simulate(access.url, access.api_key, project.id, personas, answer, **options)


def labels(client: LabelStudioClient, project: Project) -> Counter[tuple[str, str, str]]:
    """How often each annotator gave each item each answer."""
    return Counter(
        (one.key, one.annotator, one.results[0]["value"]["choices"][0])
        for task in client.annotations(project)
        for one in task.annotations
    )


def test_each_annotates_every_task_once_and_errs_as_stated(
    label_studio: Access, client: LabelStudioClient, project: Project
) -> None:
    seen: list[tuple[str, int]] = []
    report = work(label_studio, project, report=lambda name, made: seen.append((name, made)))
    found = labels(client, project)
    assert set(found.values()) == {1}
    for persona in PERSONAS:
        who = pseudonym(PSEUDONYM_KEY, persona.email)
        mine = [given for key, name, given in found if name == who]
        assert len(mine) == report.annotated[persona.name] == report.total[persona.name] == len(KEYS)
        assert mine.count("no") == report.errors[persona.name]
        assert [made for name, made in seen if name == persona.name] == list(range(1, len(KEYS) + 1))
    assert 0 < report.errors["simulated-annotator-1"] < len(KEYS)
    assert report.errors["simulated-annotator-2"] == 0


def test_a_run_that_was_cut_short_and_run_again_makes_the_same_labels(
    label_studio: Access, client: LabelStudioClient, project: Project
) -> None:
    def cut(name: str, made: int) -> None:
        if made == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(label_studio, project, report=cut)
    assert 5 <= sum(labels(client, project).values()) < 2 * len(KEYS)
    work(label_studio, project)
    again = work(label_studio, project)
    assert sum(again.annotated.values()) == 0

    whole = new_project(client)
    work(label_studio, whole)
    assert labels(client, project) == labels(client, whole)


def test_a_limit_counts_earlier_runs(
    label_studio: Access, client: LabelStudioClient, project: Project
) -> None:
    assert work(label_studio, project, limit=3).annotated["simulated-annotator-1"] == 3
    assert work(label_studio, project, limit=5).annotated["simulated-annotator-1"] == 2
    report = work(label_studio, project, limit=5)
    assert report.total == {"simulated-annotator-1": 5, "simulated-annotator-2": 5}
    assert {key for key, _, _ in labels(client, project)} == set(KEYS[:5])


def test_tasks_that_others_have_finished_are_left_alone(
    label_studio: Access, client: LabelStudioClient, project: Project
) -> None:
    work(label_studio, project, limit=4)
    third = Persona(name="simulated-annotator-3")
    assert work(label_studio, project, [third]).annotated[third.name] == len(KEYS) - 4


def test_a_shown_pre_annotation_is_noted_as_a_browser_does(
    label_studio: Access, client: LabelStudioClient, project: Project
) -> None:
    ids = {key: number for number, key in client.task_keys(project)}
    client.create_predictions(project, [(ids[KEYS[0]], answer("", False, random.Random()), 0.9)], "m1")
    client.show_model(project, "m1")
    work(label_studio, project, limit=2)
    shown = {
        task.key: {one.shown_model for one in task.annotations}
        for task in client.annotations(project)
        if task.annotations
    }
    assert shown == {KEYS[0]: {"m1"}, KEYS[1]: {None}}


def test_they_are_called_what_they_are(
    label_studio: Access, client: LabelStudioClient, project: Project
) -> None:
    work(label_studio, project, limit=1)
    users = {user["email"]: user for user in client._api.get("/api/users/")}
    assert users[PERSONAS[0].email]["first_name"] == "Simulated"


def test_a_server_elsewhere_is_refused(label_studio: Access) -> None:
    with pytest.raises(LabelStudioError, match="this machine's"):
        simulate("https://labels.example.com", label_studio.api_key, 1, PERSONAS, answer)
