"""How often the host waits for the device within a step: each time, the device soon has nothing to do.

On a GPU PyTorch itself says where it waits. Elsewhere nothing runs ahead and nothing waits; there the
operations are seen that would wait on a GPU, since they need a number that the device has: `item`, `nonzero`,
choosing by a mask, copies to the host. So a machine without a GPU tells what would hold one up.
"""

from __future__ import annotations

import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Syncs = Counter[str]
"""Where the host waited, as `file:line`, and how often."""

_WAITING = frozenset(
    f"aten.{name}"
    for name in (
        "_local_scalar_dense",
        "_unique2",
        "allclose",
        "bincount",
        "equal",
        "is_nonzero",
        "masked_select",
        "nonzero",
        "unique_consecutive",
        "unique_dim",
    )
) | {"torchvision.nms"}
_BY_INDEX = frozenset({"aten.index", "aten.index_put", "aten.index_put_", "aten._index_put_impl_"})
_TO_HOST = frozenset({"cpu", "numpy", "tolist"})
_SAID_BY_CUDA = "synchronizing CUDA operation"
_LIBRARIES = (Path(torch.__file__).parent, Path(__file__))


@contextmanager
def counted(syncs: Syncs, device: torch.device) -> Iterator[None]:
    """Count the waits of what this thread, on a GPU this process, does within."""
    if device.type == "cuda":
        with _said_by_cuda(syncs):
            yield
        return
    with _Calls(syncs), _Operations(syncs):
        yield


@contextmanager
def _said_by_cuda(syncs: Syncs) -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
    for one in caught:
        if _SAID_BY_CUDA in str(one.message):
            syncs[_place(one.filename, one.lineno)] += 1
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees operations whose result the host must know."""

    def __init__(self, syncs: Syncs) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._syncs = syncs

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = str(func.overloadpacket)
        if name in _WAITING or (name in _BY_INDEX and _by_mask(args[1])) or _unsized(func, kwargs):
            self._syncs[_asked_from()] += 1
        return func(*args, **kwargs)


class _Calls(TorchFunctionMode):
    """Sees copies to the host, of which a machine without a device makes none."""

    def __init__(self, syncs: Syncs) -> None:
        super().__init__()
        self._syncs = syncs

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        # Where there is no GPU, the device of a run is the CPU too: the host alone is called by a word.
        if name in _TO_HOST or (name == "to" and "cpu" in [*args[1:], *kwargs.values()]):
            self._syncs[_asked_from()] += 1
        return func(*args, **kwargs)


def _by_mask(indices: Any) -> bool:
    return any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in indices)


def _unsized(func: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether this repeats each element as often as a tensor says, without being told the sum."""
    return func is torch.ops.aten.repeat_interleave.Tensor and kwargs.get("output_size") is None


def _asked_from() -> str:
    """The innermost place outside of PyTorch."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if not any(path.is_relative_to(library) for library in _LIBRARIES):
            return _place(frame.filename, frame.lineno)
    return "?"


def _place(file: str, line: int | None) -> str:
    """A file below its package, and a line."""
    parts = Path(file).parts
    known = next((parts.index(name) for name in ("site-packages", "platform") if name in parts), -1)
    return f"{'/'.join(parts[known + 1 :] if known >= 0 else parts[-2:])}:{line}"
