"""Short support requests in six intents, written for goldloop."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from goldloop import durable

INTENTS = ("account-access", "billing", "cancellation", "delivery", "returns", "technical-problem")
"""What the customers want; the column `intent`."""


def write_support_requests(folder: Path) -> Path:
    """Write `folder/support_requests.csv` with the columns id, text and intent; returns its path."""
    content = files("goldloop.examples").joinpath("support_requests.csv").read_bytes()
    path = folder / "support_requests.csv"
    if not path.exists() or path.read_bytes() != content:
        folder.mkdir(parents=True, exist_ok=True)
        durable.replace(path, content)
    return path
