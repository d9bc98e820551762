"""What all tests share."""

from __future__ import annotations

import os

# Tiny networks are slower on many threads, and the same weights to the bit only on as many; set before torch
# is imported here or in what a test starts.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the workspace, server or hub of whoever runs it."""
    for name in (
        "GOLDLOOP_HOME",
        "GOLDLOOP_CATALOG_URL",
        "LABEL_STUDIO_URL",
        "LABEL_STUDIO_API_KEY",
        "MLFLOW_TRACKING_URI",
        "GOLDLOOP_SIGNING_KEY",
        "GOLDLOOP_TRUSTED_KEYS",
        "GOLDLOOP_ACTOR",
        "GOLDLOOP_API_KEYS",
    ):
        monkeypatch.delenv(name, raising=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that in the end no worker waits for another."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Where nothing may be left out, a skip is a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("GOLDLOOP_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {report.longrepr}"
