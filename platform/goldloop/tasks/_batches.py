"""What passes between a task type and its network: the model, a batch, what the loss is told, what it says.

Task types import these from `base`, which is about everything else that one has to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LossOptions:
    """How a loss weighs examples and classes.

    Attributes:
        label_smoothing: in [0, 1).
        class_weights: how much each class counts, by id; None: all alike.
        focal_gamma: examples that are right already count less, the more so the higher; 0: all count alike.
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    focal_gamma: float = 0.0


PLAIN_LOSS = LossOptions()


@dataclass(slots=True)
class Model:
    """A network and what turns content into its input.

    Attributes:
        network: takes `Batch.inputs` as keyword arguments; saved by `save_pretrained` as safetensors.
        processor: the tokenizer or image processor; has `save_pretrained`.
        settings: what else inference must know (image size, length limit); JSON values.
        packed: whether texts of a batch stand one behind the other, without padding; is not saved.
        packed_shape: how many tokens and texts every packed batch is to have room for, so that a compiled
            network sees one shape; None: as many as it has. Is not saved.
    """

    network: torch.nn.Module
    processor: Any
    settings: dict[str, Any] = field(default_factory=dict)
    packed: bool = False
    packed_shape: tuple[int, int] | None = None


@dataclass(slots=True)
class Batch:
    """What one step works on.

    Attributes:
        inputs: keyword arguments of the network; first dimension B = examples, unless packed.
        targets: what `loss` compares with: tensors, or lists and dicts of them; None at inference.
        keys: the items' content keys, B of them, in order.
        tokens: real tokens of a text batch, else 0.
        padded_tokens: tokens with padding, else 0.
        context: what `outputs` and `predict` must know beside the inputs (an image's own size, a token's
            place in the text); stays on the host.
    """

    inputs: dict[str, Any]
    targets: Any
    keys: tuple[str, ...]
    tokens: int = 0
    padded_tokens: int = 0
    context: dict[str, Any] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device; pinned memory travels without a wait."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """The same batch with every tensor of its inputs and targets changed."""
        return replace(self, inputs=_mapped(self.inputs, change), targets=_mapped(self.targets, change))


def _mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    import torch

    if isinstance(value, Mapping):
        return {name: _mapped(part, change) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(part, change) for part in value]
    return change(value) if isinstance(value, torch.Tensor) else value


@dataclass(frozen=True, slots=True)
class PlaceAnswers:
    """What a network says of each place of one item, and what its label says there; P places, K names.

    Attributes:
        given: int64 `(P,)`, positions in `names`; -1 where the label says nothing.
        probabilities: float `(P, K)`, rows adding up to 1.
        names: what a place can be.
        words: the place in a word, P of them; empty where it has none, as pixels.
        shape: rows and columns of places that lie in a rectangle.
    """

    given: NDArray[Any]
    probabilities: NDArray[Any]
    names: Sequence[str]
    words: Sequence[str] = ()
    shape: tuple[int, int] | None = None
