"""The training rows of two versions put together anew: the labels of the one, the items of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from goldloop.dataset.version import Version
from goldloop.tasks import tasks

if TYPE_CHECKING:
    import datasets

Splits = Mapping[str, "datasets.Dataset"]
"""Split -> its rows, of those that a model learns or is chosen by."""

_SPLITS = ("train", "validation")


class Mixed:
    """The rows of two versions, put together anew.

    Args:
        new: whose classes all have.
        old: whose class ids are a part of them.
    """

    def __init__(self, new: Version, old: Version) -> None:
        self.task = tasks.create(new.task)
        self._new = {split: new.dataset(split) for split in _SPLITS}
        self._old = {split: _as(old.dataset(split), self._new[split]) for split in _SPLITS}
        self._new_targets = self._targets(self._new)
        self._old_targets = self._targets(self._old)
        both = self._new_targets.keys() & self._old_targets.keys()
        self.relabelled = {key for key in both if self._new_targets[key] != self._old_targets[key]}
        self.added = self._new_targets.keys() - self._old_targets.keys()
        self.dropped = self._old_targets.keys() - self._new_targets.keys()

    def as_it_is(self) -> Splits:
        """The newer version."""
        return self._new

    def old_labels(self) -> Splits:
        """The newer version's items, with the older labels of those that have one."""
        return {
            split: self._joined(self._keep(split, self._new, without=self.relabelled), split)
            for split in _SPLITS
        }

    def _joined(self, kept: datasets.Dataset, split: str) -> datasets.Dataset:
        """Kept rows of a split and the relabelled ones with their older labels, in the order of keys."""
        own = set(self._new[split]["key"]) & self.relabelled
        former = [self._keep(each, self._old, only=own) for each in _SPLITS]
        return _in_order([kept, *former])

    def old_items(self) -> Splits:
        """The older version's items, with the newer labels of those that have one."""
        common = self._new_targets.keys() & self._old_targets.keys()
        return {
            split: _in_order(
                [
                    self._keep(split, self._new, only=common),
                    self._keep(split, self._old, only=self.dropped),
                ]
            )
            for split in _SPLITS
        }

    def without_classes(self, names: Sequence[str]) -> Splits:
        """The newer version's items whose label names none of these classes."""
        gone = {
            key for key, target in self._new_targets.items() if set(self.task.classes_in(target)) & set(names)
        }
        return {split: self._keep(split, self._new, without=gone) for split in _SPLITS}

    def _targets(self, splits: Splits) -> dict[str, Any]:
        """Key -> target; no image is read for it."""
        found = {}
        for rows in splits.values():
            columns = [name for name in rows.column_names if name != self.task.modality]
            found.update({row["key"]: self.task.from_row(row) for row in rows.select_columns(columns)})
        return found

    @staticmethod
    def _keep(
        split: str, rows: Splits, *, only: set[str] | None = None, without: set[str] | None = None
    ) -> datasets.Dataset:
        keys = rows[split]["key"]
        chosen = [
            place
            for place, key in enumerate(keys)
            if (only is None or key in only) and (without is None or key not in without)
        ]
        return rows[split].select(chosen)


def _as(rows: datasets.Dataset, like: datasets.Dataset) -> datasets.Dataset:
    """Rows with the features of others: ids of classes stay what they were, so they mean the same."""
    if rows.features == like.features:
        return rows
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        return rows.cast(like.features)
    finally:
        if shown:
            datasets.enable_progress_bars()


def _in_order(parts: Sequence[datasets.Dataset]) -> datasets.Dataset:
    """Rows of several data sets by key, as versions have them."""
    import datasets

    whole = datasets.concatenate_datasets([part for part in parts if len(part)] or list(parts[:1]))
    keys = whole["key"][:]
    return whole.select(sorted(range(len(keys)), key=keys.__getitem__))
