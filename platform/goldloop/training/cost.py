"""What training on an example costs, in floating-point operations: counted from the network, not measured.

One forward pass of an example or two is watched. Each product in it costs its backward pass as much again for
each factor that has a gradient: a frozen layer costs less, and so does a first one, whose input has none.
What PyTorch's own counter says of a backward pass is not used: it takes a convolution in groups for a whole
one. Only what examples need is counted: no padding, and nothing that is computed twice to save memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from goldloop.training.snapshot import undisturbed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from goldloop.tasks.base import Batch, Model
    from goldloop.training.engine import Engine

# By name, as a build of PyTorch may lack one of them.
_ATTENTION = frozenset(
    {
        "aten._scaled_dot_product_flash_attention",
        "aten._scaled_dot_product_flash_attention_for_cpu",
        "aten._scaled_dot_product_efficient_attention",
        "aten._scaled_dot_product_cudnn_attention",
        "aten._flash_attention_forward",
        "aten._efficient_attention_forward",
        "torch_attn._varlen_attn",
    }
)
_BETWEEN_TOKENS = _ATTENTION | {"aten.bmm", "aten.baddbmm"}
_WITH_A_SUMMAND = frozenset({"aten.addmm", "aten.baddbmm"})


@dataclass(frozen=True, slots=True)
class Cost:
    """Floating-point operations of a forward and a backward pass.

    Attributes:
        per_example: mean over the training split; of texts None.
        per_token: of texts, for each real token, mean over the training split; else None.
    """

    per_example: float | None = None
    per_token: float | None = None

    def of(self, examples: float, tokens: float) -> float:
        """Of so many examples with so many real tokens."""
        return (self.per_example or 0.0) * examples + (self.per_token or 0.0) * tokens


def training_cost(engine: Engine) -> Cost:
    """What the network of a run costs; every process must ask at the same time.

    Of a text each token costs the same, and attention as much again as there are tokens that it may see:
    both are taken from the text of middle length, and the lengths of all give the mean.
    """
    tokens = engine.data.tokens
    if tokens is None:
        count = min(2, len(engine.data))
        # Two, as a network that normalizes over a batch wants.
        positions = [0, count - 1]
        linear, between = _counted(engine, _batch(engine, positions))
        return Cost(per_example=(linear + between) / len(positions))
    middle = int(numpy.argsort(tokens, kind="stable")[len(tokens) // 2])
    batch = _batch(engine, [middle])
    linear, between = _counted(engine, batch)
    width = batch.padded_tokens / len(batch.inputs["input_ids"])
    seen = _seen(engine.model, tokens)
    return Cost(per_token=(linear + between * seen / width) / batch.padded_tokens)


def _seen(model: Model, tokens: NDArray[Any]) -> float:
    """How many tokens of its text one sees: the mean over all tokens of texts, and over layers."""
    longest = model.settings["max_length"] + model.settings.get("max_new_tokens", 0)
    config: Any = getattr(model.network, "config", None)
    # Some layers, or all, see near tokens only: so many to both sides together, or so many before.
    local, before = (getattr(config, name, None) for name in ("local_attention", "sliding_window"))
    window = local + 1 if local else before
    kinds = getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"]
    near = kinds.count("sliding_attention") / len(kinds) if window else 0.0
    widths = [(1 - near, longest), (near, min(longest, window or longest))]
    seen = sum(share * (tokens * numpy.minimum(tokens, most)).sum() for share, most in widths)
    return float(seen / max(tokens.sum(), 1))


def _batch(engine: Engine, positions: list[int]) -> Batch:
    """Some rows on the device, padded as texts are without packing."""
    model = replace(engine.model, packed=False)
    batch = engine.task.batch(engine.data.rows(positions), model).to(engine.accelerator.device)
    return engine.task.normalize(batch, model)


def _counted(engine: Engine, batch: Batch) -> tuple[float, float]:
    """Operations on a batch: those of each token by itself, and those between tokens."""
    network = engine.accelerator.unwrap_model(engine.network)
    network.train()
    with undisturbed(engine), _Products() as products:
        network(**engine.task.training_inputs(batch))
    return products.linear, products.between


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what the products of a forward pass will cost with their backward passes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.linear = 0.0
        self.between = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        formula: Callable[..., float] | None = flop_registry.get(func.overloadpacket)
        if formula is not None:
            name = str(func.overloadpacket)
            whole = formula(*args, **kwargs, out_val=found) * _times(name, args)
            if name in _BETWEEN_TOKENS:
                self.between += whole
            else:
                self.linear += whole
        return found


def _times(name: str, args: tuple[Any, ...]) -> int:
    """How often a product is computed in training: forward, and once for each factor with a gradient."""
    tensors = [one for one in args if isinstance(one, torch.Tensor)]
    if name in _ATTENTION:
        return 3 if any(tensor.requires_grad for tensor in tensors[:3]) else 1
    first = 1 if name in _WITH_A_SUMMAND else 0
    return 1 + sum(tensor.requires_grad for tensor in tensors[first : first + 2])
