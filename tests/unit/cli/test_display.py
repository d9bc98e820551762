from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from goldloop.cli import display
from goldloop.cli.display import Lines
from goldloop.cli.live import Watched, filled

FIGURES = [
    "epoch 2 of 5",
    "loss 0.5000",
    "validation accuracy 0.9012 (best 0.9100)",
    "learning rate 4.2e-5",
    "1,234 samples/s",
    "45,678 tokens/s (95% useful)",
    "data wait 1%",
    "memory 1.5 GB",
]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text("ab ", min_size=1, max_size=30), max_size=12), st.integers(10, 120))
def test_figures_fill_lines_in_order_and_none_is_cut(figures, width):
    lines = filled(figures, width)
    assert " · ".join(lines) == " · ".join(figures)
    assert all(len(line) <= max(width, *map(len, figures)) for line in lines)


@pytest.mark.parametrize(("width", "lines"), [(80, 4), (120, 3)])
def test_a_watched_bar_shows_all_its_figures_at_any_width(width, lines):
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    watched = Watched(console)
    watched.add_task("train", total=40, completed=10)
    watched.figures = FIGURES
    console.print(watched.get_renderable())
    shown = out.getvalue().rstrip("\n").split("\n")
    assert all(len(line) <= width for line in shown)
    assert "10/40" in shown[0]
    assert len(shown) == lines
    assert all(figure in out.getvalue() for figure in FIGURES)


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on when told to."""
    now = [0.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_lines_tell_count_figures_and_the_time_left(clock, capsys):
    with Lines().watch("train", 100) as show:
        show(10, ["loss 0.5"])
        clock(10)
        show(30, ["loss 0.4"])
    assert capsys.readouterr().err == "train: 30 of 100, loss 0.4, 0:00:35 left\n"


def test_lines_become_rarer_as_the_work_goes_on(clock, capsys):
    with Lines().watch("train", 100_000) as show:
        for step in range(10_000):
            show(step, [])
            clock(1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines[:2]] == ["5", "10"]
    assert 50 < len(lines) < 400
