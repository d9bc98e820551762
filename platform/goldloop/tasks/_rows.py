"""Prepared rows of a batch, a column at once where the rows lie in one place on the disk.

A task's `batch` takes any sequence of rows. Those of a prepared split are `GatheredRows`, which copy a whole
column straight into one tensor; `stacked` and `joined` take that way where there is one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class GatheredRows(Sequence[Mapping[str, Any]]):
    """Rows that can also give a column of all of them."""

    @property
    @abstractmethod
    def keys(self) -> tuple[str, ...]:
        """The items' content keys, in order."""

    @abstractmethod
    def column(self, name: str) -> torch.Tensor | None:
        """All rows' values in a tensor `(B, ...)`; None where they differ in shape, or some have none."""

    @abstractmethod
    def flat(self, name: str) -> tuple[torch.Tensor, torch.Tensor] | None:
        """All rows' arrays one behind the other `(sum of lengths, ...)`, and their lengths, int64 `(B,)`.

        None where some have no such value.
        """


def stacked(rows: Sequence[Mapping[str, Any]], name: str) -> torch.Tensor:
    """A column of arrays of one shape as one tensor `(B, ...)`."""
    import torch

    whole = rows.column(name) if isinstance(rows, GatheredRows) else None
    return torch.stack([torch.as_tensor(row[name]) for row in rows]) if whole is None else whole


def joined(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A column of arrays one behind the other, and each one's length, int64 `(B,)`."""
    import torch

    whole = rows.flat(name) if isinstance(rows, GatheredRows) else None
    if whole is not None:
        return whole
    parts = [torch.as_tensor(row[name]) for row in rows]
    return torch.cat(parts), torch.tensor([len(part) for part in parts], dtype=torch.int64)


def keys_of(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The items' content keys; an empty one where a row has none."""
    return rows.keys if isinstance(rows, GatheredRows) else tuple(row.get("key", "") for row in rows)
