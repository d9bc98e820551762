"""Texts one behind the other, without padding: where each of them stands in a packed batch.

B = texts, T = tokens of all of them, S = segments. Segments stand longest first, so that those of one length
lie together, and attention can see them as one rectangle without copying.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    import torch
    from numpy.typing import NDArray

    from goldloop.tasks.base import Batch

SEGMENTS = "segments"
"""The network's keyword argument that says where the texts of a packed batch begin and end."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the texts of a packed batch stand.

    Attributes:
        lengths: tokens of each text, int64 `(B,)`, in the order of the rows.
        starts: where each text begins, int64 `(B,)`, in the order of the rows.
        order: the rows in the order in which they stand.
        width: T, of which what no text fills is padding.
        segments: what the network is told; numbers and tensors.
    """

    lengths: NDArray[numpy.int64]
    starts: NDArray[numpy.int64]
    order: list[int]
    width: int
    segments: dict[str, Any]

    @property
    def tokens(self) -> int:
        """Real tokens."""
        return int(self.lengths.sum())

    def line(self, parts: Sequence[Any], filler: int = 0) -> torch.Tensor:
        """What belongs to the tokens of each text, in the order of the rows, as one line int64 `(1, T)`."""
        import numpy
        import torch

        line = numpy.full(self.width, filler, dtype=numpy.int64)
        for part, start in zip(parts, self.starts.tolist(), strict=True):
            line[start : start + len(part)] = part
        return torch.from_numpy(line).unsqueeze(0)

    def positions(self) -> torch.Tensor:
        """The place of each token in its text, from 0, int64 `(1, T)`."""
        import numpy
        import torch

        bounds = self.segments["bounds"].numpy().astype(numpy.int64)
        begins = numpy.repeat(bounds[:-1], numpy.diff(bounds))
        return torch.from_numpy(numpy.arange(self.width) - begins).unsqueeze(0)


def lay_out(lengths: Sequence[int], shape: tuple[int, int] | None = None, longest: int = 0) -> Layout:
    """Texts of these lengths, longest first.

    Args:
        lengths: tokens of each text, at least one.
        shape: how many tokens and texts all batches are to have room for, so that a compiled network sees one
            shape; of no effect where these do not fit.
        longest: of all batches; needed with `shape`.

    Returns:
        a layout whose `segments` has `bounds`, int32 `(S + 1,)`, where segments begin and end; `starts`,
        int64, for each text; `longest`, no segment is longer; `runs`, how many segments of which length
        stand together, empty with `shape`.
    """
    import numpy
    import torch

    sizes = numpy.asarray(lengths, dtype=numpy.int64)
    order = numpy.argsort(-sizes, kind="stable")
    bounds = numpy.concatenate([[0], numpy.cumsum(sizes[order])])
    starts = numpy.empty_like(sizes)
    starts[order] = bounds[:-1]
    width, told = int(bounds[-1]), starts
    most = int(sizes.max())
    runs = [[len(list(run)), length] for length, run in groupby(sizes[order].tolist())]
    if shape is not None and width <= shape[0] and len(sizes) <= shape[1] and most <= longest:
        width, most, runs = shape[0], longest, []
        bounds = _filled(bounds, *shape, longest)
        told = numpy.pad(starts, (0, shape[1] - len(starts)))
    segments = {
        "bounds": torch.from_numpy(bounds.astype(numpy.int32)),
        "starts": torch.from_numpy(told),
        "longest": most,
        "runs": runs,
    }
    return Layout(sizes, starts, order.tolist(), width, segments)


def answers(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """What a network says of a batch's texts, `(B, ...)`; a fixed shape has room for more of them."""
    segments = batch.inputs.get(SEGMENTS)
    if segments is None:
        return logits
    if len(logits) != len(segments["starts"]):
        raise AssertionError(f"{len(logits)} answers about {len(segments['starts'])} packed texts")
    return logits[: len(batch.keys)]


def _filled(bounds: NDArray[Any], width: int, texts: int, longest: int) -> NDArray[Any]:
    """The bounds of texts and of padding behind them, as many for every batch; the last ones are empty."""
    import numpy

    end = int(bounds[-1])
    padding = numpy.minimum(end + longest * numpy.arange(1, -(-width // longest) + 1), width)
    filled = numpy.full(texts + -(-width // longest) + 1, width, dtype=numpy.int64)
    filled[: len(bounds)] = bounds
    filled[len(bounds) : len(bounds) + len(padding)] = padding
    return filled
