"""A batch's rows, from any number of folders: each read when it is asked for, a column with one copy.

S = folders, B = rows of a batch. Copies let other threads run, so several batches can be gathered at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy
import torch
from numpy.typing import NDArray

from goldloop.tasks._rows import GatheredRows
from goldloop.training.column import Column
from goldloop.training.columns import Columns


class StoredRow(Mapping[str, Any]):
    """A prepared row: arrays as views of the disk's content, scalars as plain numbers, `key` as text."""

    __slots__ = ("_columns", "_hidden", "_key", "_position")

    def __init__(self, columns: Columns, position: int, key: str, hidden: str) -> None:
        self._columns = columns
        self._position = position
        self._key = key
        self._hidden = hidden

    def __getitem__(self, name: str) -> Any:
        if name == "key":
            return self._key
        column = self._columns.get(name)
        if column is None or name == self._hidden:
            raise KeyError(name)
        return column.value(self._position)

    def __contains__(self, name: object) -> bool:
        return name in tuple(self)

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in self._columns.names if name != self._hidden)
        yield "key"

    def __len__(self) -> int:
        return sum(1 for _ in self)


class StoredRows(GatheredRows):
    """Rows of one batch.

    Args:
        folders: S of them.
        places: int64 `(B, 2)`: of each row its folder and its position there.
        keys: the items' content keys.
        pinned: gather columns into page-locked memory, from which a GPU copies while it computes; torch
            keeps such memory and uses it again once the copy is done.
        hidden: a column that is no part of the rows.
    """

    def __init__(
        self,
        folders: Sequence[Columns],
        places: NDArray[Any],
        keys: tuple[str, ...],
        *,
        pinned: bool,
        hidden: str,
    ) -> None:
        self._folders = folders
        self._places = places
        self._keys = keys
        self._pinned = pinned
        self._hidden = hidden

    @property
    def keys(self) -> tuple[str, ...]:
        """The items' content keys, in order."""
        return self._keys

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, number: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Mapping[str, Any]]: ...
    def __getitem__(self, number: int | slice) -> Mapping[str, Any] | Sequence[Mapping[str, Any]]:
        if isinstance(number, slice):
            return [self[place] for place in range(*number.indices(len(self)))]
        folder, position = self._places[number].tolist()
        return StoredRow(self._folders[folder], position, self._keys[number], self._hidden)

    def column(self, name: str) -> torch.Tensor | None:
        """All rows' values in a tensor `(B, ...)`; None where they differ in shape, or some have none."""
        found = self._columns(name)
        if found is None:
            return None
        first = next(iter(found.values()))
        kinds = {(column.shape, column.dtype) for column in found.values()}
        if first.shape is None or len(kinds) > 1:
            return None
        target = self._empty((len(self), *first.shape), first.dtype)
        out = target.numpy()
        rows = self._places[:, 1]
        if len(found) == 1:
            first.take(rows, out)
        else:
            for number, folder in enumerate(self._places[:, 0].tolist()):
                found[folder].take(rows[number : number + 1], out[number : number + 1])
        return target

    def flat(self, name: str) -> tuple[torch.Tensor, torch.Tensor] | None:
        """All rows' arrays one behind the other `(sum of lengths, ...)`, and their lengths, int64 `(B,)`."""
        found = self._columns(name)
        if found is None or any(column.shape == () for column in found.values()):
            return None
        parts = [found[folder].value(position) for folder, position in self._places.tolist()]
        lengths = torch.tensor([len(part) for part in parts], dtype=torch.int64)
        # An array without a number may not say of what it would be.
        telling = [part for part in parts if part.size] or parts[:1]
        target = self._empty((int(lengths.sum()), *telling[0].shape[1:]), telling[0].dtype)
        numpy.concatenate(telling, out=target.numpy())
        return target, lengths

    def _columns(self, name: str) -> dict[int, Column] | None:
        """The column in each folder of the batch."""
        if not len(self) or name == self._hidden:
            return None
        found = {}
        for folder in numpy.unique(self._places[:, 0]).tolist():
            column = self._folders[folder].get(name)
            if column is None:
                return None
            found[folder] = column
        return found

    def _empty(self, shape: tuple[int, ...], dtype: numpy.dtype[Any]) -> torch.Tensor:
        kind = torch.from_numpy(numpy.empty(0, dtype=dtype)).dtype
        return torch.empty(shape, dtype=kind, pin_memory=self._pinned)
