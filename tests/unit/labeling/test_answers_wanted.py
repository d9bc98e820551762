"""How many people are asked about each item, and that a push that was killed goes on."""

from __future__ import annotations

import pytest

from goldloop.catalog import server_side
from goldloop.catalog.server_side import Place
from goldloop.labeling import answers_wanted
from goldloop.labeling.config import Asked, LabelingConfig
from goldloop.progress import Silent
from goldloop.records import Item, content_key
from goldloop.settings import Settings
from goldloop.workspace import Workspace

PLACE = Place("pets", "embedded")
CONFIG = LabelingConfig(
    annotators_per_item=1, overlap=Asked(share=0.2, annotators=2), controls=Asked(share=0.1, annotators=5)
)


def _item(number: int, known: bool = True) -> Item:
    key = content_key(str(number).encode())
    label = {"label": "cat", "label_use": "truth"} if known else {}
    return Item(key=key, modality="text", uri="u", group=key, source="s", text="t", media_type="t", **label)


class _Server:
    """Notes what it is told; fails after some."""

    def __init__(self, fails_after: int = 10**9) -> None:
        self.overlap: dict[int, int] = {}
        self.told = 0
        self.fails_after = fails_after

    def set_overlap(self, task_id: int, overlap: int) -> None:
        if self.told >= self.fails_after:
            raise KeyboardInterrupt
        self.told += 1
        self.overlap[task_id] = overlap


ITEMS = [_item(number) for number in range(1000)]
LIVE = {item.key: number for number, item in enumerate(ITEMS, start=1)}


@pytest.fixture
def engine(tmp_path):
    workspace = Workspace(tmp_path, Settings())
    with workspace.engine.begin() as connection:
        server_side.note_tasks(connection, PLACE, LIVE)
    yield workspace.engine
    workspace.engine.dispose()


def _apply(engine, server, config=CONFIG, items=ITEMS):
    return answers_wanted.apply(engine, PLACE, server, config, items, Silent())


def test_shares_are_what_they_say_and_an_item_stays_where_it_is():
    overlapped = sum(answers_wanted.share_of("overlap", item.key) < 0.2 for item in ITEMS)
    controls = [item for item in ITEMS if answers_wanted.is_control(CONFIG, item)]
    assert 150 < overlapped < 250
    assert 60 < len(controls) < 140
    wider = CONFIG.model_copy(update={"controls": Asked(share=0.3, annotators=5)})
    assert all(answers_wanted.is_control(wider, item) for item in controls)
    blind = LabelingConfig(blind=0.25)
    assert 200 < sum(answers_wanted.is_blind(blind, item.key) for item in ITEMS) < 300
    assert not any(answers_wanted.is_blind(LabelingConfig(), item.key) for item in ITEMS)


def test_only_an_item_whose_truth_is_known_is_a_control_item():
    assert not any(answers_wanted.is_control(CONFIG, _item(number, known=False)) for number in range(1000))
    everything = CONFIG.model_copy(update={"controls": Asked(share=1, annotators=5)})
    assert answers_wanted.wanted(everything, _item(1)) == 5
    assert answers_wanted.wanted(LabelingConfig(), _item(1)) == 1


def test_tasks_are_opened_for_as_many_as_wanted_once(engine):
    server = _Server()
    changed = _apply(engine, server)
    assert changed == server.told == sum(answers_wanted.wanted(CONFIG, item) > 1 for item in ITEMS)
    assert server.overlap == {
        LIVE[item.key]: answers_wanted.wanted(CONFIG, item)
        for item in ITEMS
        if answers_wanted.wanted(CONFIG, item) > 1
    }
    assert _apply(engine, server) == 0
    assert server.told == changed


def test_where_all_are_asked_alike_no_item_is_looked_at(engine):
    unread = (pytest.fail("it is not needed") for _ in range(1))
    assert _apply(engine, _Server(), LabelingConfig(), unread) == 0


def test_a_push_that_was_killed_goes_on(engine):
    server = _Server(fails_after=120)
    with pytest.raises(KeyboardInterrupt):
        _apply(engine, server)
    server.fails_after = 10**9
    left = _apply(engine, server)
    assert 0 < left < len(server.overlap)
    everything = {LIVE[item.key]: answers_wanted.wanted(CONFIG, item) for item in ITEMS}
    assert server.overlap == {task: people for task, people in everything.items() if people > 1}


def test_what_a_recipe_no_longer_asks_for_is_as_all_others(engine):
    server = _Server()
    _apply(engine, server)
    assert _apply(engine, server, LabelingConfig(annotators_per_item=2)) > 0
    assert set(server.overlap.values()) == {2}
    assert answers_wanted.noted(engine, PLACE) == {}


def test_tasks_that_are_no_longer_there_are_left_alone(engine):
    server = _Server()
    _apply(engine, server)
    changed = set(server.overlap)
    with engine.begin() as connection:
        server_side.mark_deleted(connection, PLACE, LIVE)
    server.overlap.clear()
    answers_wanted.take_back(engine, PLACE, server, 1)
    assert changed
    assert server.overlap == {}
    assert _apply(engine, server) == 0


def test_before_the_number_of_all_changes_none_is_different(engine):
    server = _Server()
    _apply(engine, server)
    answers_wanted.take_back(engine, PLACE, server, 1)
    assert set(server.overlap.values()) == {1}
    assert _apply(engine, server) == len(server.overlap)
