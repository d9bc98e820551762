"""Where a run computes, and in which precision."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import torch

from goldloop.errors import TrainingError
from goldloop.training.config import TrainingConfig

if TYPE_CHECKING:
    from accelerate import Accelerator


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """Where and in which precision to compute; `accelerate launch` has its say by the environment.

    Raises:
        TrainingError: the machine cannot compute in this precision.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    precision: str = config.precision
    if precision == "auto":
        precision = "bf16" if _multiplies_bf16() else "no"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available():
        # Without it each of several processes on CPUs would train alone, and write over the others.
        os.environ.setdefault("ACCELERATE_USE_CPU", "true")
    # A second run in this process may want another precision than the first.
    AcceleratorState._reset_state()
    try:
        accelerator = Accelerator(mixed_precision=precision)
    except ValueError as error:
        raise _no_precision(precision, str(error)) from error
    # On a CPU Accelerate leaves fp16 out without a word.
    if precision == "fp16" and accelerator.scaler is None:
        raise _no_precision(precision, f"a {accelerator.device.type} has no fp16")
    return accelerator


def leave_group() -> None:
    """End this process if it is one of several that trained together; its work must be done.

    It ends at once. Threads of the group may want the interpreter while that is being taken down, which then
    aborts the process, and the others with it, though all that was asked for has been done.
    """
    from accelerate import PartialState

    if PartialState().num_processes == 1:
        return
    PartialState().wait_for_everyone()
    PartialState().destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _multiplies_bf16() -> bool:
    """Whether the device has instructions for products in bf16, and does not imitate them."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))


def _no_precision(precision: str, reason: str) -> TrainingError:
    return TrainingError(
        f"the machine cannot compute in this precision: {reason}",
        where="training.precision",
        found=precision,
        remedy="Use `precision: auto`",
    )
