"""What everything that suggests answers has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from goldloop.errors import GoldloopError
from goldloop.plugins import Plugin
from goldloop.records import Item, Prediction
from goldloop.tasks.base import Task


class Suggester(Plugin):
    """Answers for items, from elsewhere; they are never trusted to fit the task."""

    @property
    @abstractmethod
    def model(self) -> str:
        """Who answers, as annotators and dataset versions see it; changes when answers could."""

    @abstractmethod
    def suggest(
        self, task: Task[Any], items: Sequence[Item], contents: Sequence[bytes | str]
    ) -> list[Prediction[Any] | GoldloopError]:
        """A prediction for each item, in order; in place of one that cannot be used, why.

        Args:
            task: what is asked.
            items: about what.
            contents: a text, or an image's bytes, of each.

        Raises:
            ModelError: none can be had, and asking on is in vain.
        """
