"""One item after another as a recipe wants them: scrubbed, and kept or dropped with a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from goldloop.cleaning import images, texts
from goldloop.cleaning.config import CleaningConfig
from goldloop.cleaning.personal import Scrubbed, scrub
from goldloop.errors import Dropped
from goldloop.records import Item, content_key
from goldloop.tasks.base import Task


class Cleaner:
    """What a recipe's `cleaning:` makes of items.

    Args:
        config: the section.
        task: whose targets the items' labels are.
    """

    def __init__(self, config: CleaningConfig, task: Task[Any]) -> None:
        self._config = config
        self._task = task

    def clean(self, item: Item) -> tuple[Item, str]:
        """The item as it is to be kept, and what was done to it.

        A scrubbed item is another one: its key is that of the new text, and the old one is kept nowhere.

        Raises:
            Dropped: it is left out, and why; `item` on it is what may be shown of it.
        """
        note = ""
        if item.text is not None and self._config.scrub:
            item, note = self._scrubbed(item)
        try:
            if item.text is not None:
                texts.check(item.text, self._config.texts)
            else:
                images.check(item, self._config.images)
        except Dropped as error:
            error.item = item
            raise
        return item, note

    def _scrubbed(self, item: Item) -> tuple[Item, str]:
        done = self._scrub(item.text or "")
        metadata = {name: self._without(value) for name, value in item.metadata.items()}
        if done.text == item.text:
            return replace(item, metadata=metadata), ""
        key = content_key(done.text.encode())
        group = key if item.group == item.key else item.group
        new = replace(item, key=key, text=done.text, group=group, metadata=metadata)
        if item.label is not None:
            label = self._task.rewritten(
                item.label, done.text, done.moved, lambda text: self._scrub(text).text
            )
            new = replace(new, label=label)
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(done.counts().items()))
        return new, f"scrubbed: {told}"

    def _scrub(self, text: str) -> Scrubbed:
        return scrub(text, self._config.scrub, self._config.phone_region)

    def _without(self, value: Any) -> Any:
        """Metadata without personal data."""
        if isinstance(value, str):
            return self._scrub(value).text
        if isinstance(value, list):
            return [self._without(part) for part in value]
        if isinstance(value, dict):
            return {name: self._without(part) for name, part in value.items()}
        return value
