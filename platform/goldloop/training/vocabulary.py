"""Only those tokens of a vocabulary are trained that the training texts have: the others have no gradient.

Ten thousand questions use some thousands of 30,000 tokens, or of a multilingual network's 250,000. The
gradient of the whole vocabulary, its norm, its two moments and its update take more time than a layer of the
network, and most of it is for zeros. So the rows are put in another order, those that are used first: these
are the parameter, and the rest lies behind it in the same memory, for texts that are evaluated. The rest
stays as the checkpoint has it; trained as a whole, weight decay would make it a little smaller.

V = tokens of the vocabulary, U = of them used, H = width of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import embedding

from goldloop.tasks.base import Model
from goldloop.training.data import PreparedSplit

_LEAST_SAVED = 2**20
_CHUNK = 4096


class Vocabulary:
    """The input embeddings of a network, of which some rows are trained.

    Args:
        network: on its device; changed in place.
        name: of the parameter.
        module: that has it.
        used: which rows are trained, ascending, int64 `(U,)`.
    """

    def __init__(
        self, network: torch.nn.Module, name: str, module: torch.nn.Embedding, used: torch.Tensor
    ) -> None:
        self._name = name
        weight = module.weight.detach()
        rest = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
        rest[used] = False
        order = torch.cat([used, rest.nonzero().squeeze(1)])
        self._rows = weight[order]
        self._places = torch.empty_like(order)
        self._places[order] = torch.arange(len(order), device=order.device)
        self._padding = None
        if module.padding_idx is not None:
            self._padding = int(self._places[module.padding_idx])
        module.weight = torch.nn.Parameter(self._rows[: len(used)])
        module.forward = self._embedded(module)  # type: ignore[method-assign]

    def _embedded(self, module: torch.nn.Embedding) -> Any:
        def forward(input: torch.Tensor) -> torch.Tensor:  # noqa: A002
            learns = torch.is_grad_enabled()
            padding = self._padding if learns else None
            return embedding(self._places[input], module.weight if learns else self._rows, padding)

        return forward

    def whole(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Weights by name, with all rows in the order of the vocabulary again."""
        if self._name not in weights:
            return dict(weights)
        used = weights[self._name]
        rows = torch.cat([used, self._rows[len(used) :].to(used)])
        return {**weights, self._name: rows[self._places.to(rows.device)]}


def compacted(model: Model, data: PreparedSplit) -> Vocabulary | None:
    """Have a network train the tokens of a split alone, where that saves something; it is on its device.

    Returns:
        None where all stays as it is: for images, where most tokens are used, or where the same rows are what
        the network writes with.
    """
    network: Any = getattr(model.network, "adapted", model.network)
    if data.tokens is None or not hasattr(network, "get_input_embeddings"):
        return None
    module = network.get_input_embeddings()
    if type(module) is not torch.nn.Embedding or module.max_norm is not None or module.sparse:
        return None
    names = [
        name
        for name, parameter in model.network.named_parameters(remove_duplicate=False)
        if parameter is module.weight
    ]
    if len(names) != 1 or not module.weight.requires_grad:
        return None
    used = _used(model, data, module.num_embeddings)
    if (module.num_embeddings - int(used.sum())) * module.embedding_dim < _LEAST_SAVED:
        return None
    places = used.nonzero().squeeze(1).to(module.weight.device)
    return Vocabulary(model.network, names[0], module, places)


def _used(model: Model, data: PreparedSplit, count: int) -> torch.Tensor:
    """Which tokens the texts of a split have, or a batch puts around them, boolean `(V,)`."""
    used = torch.zeros(count, dtype=torch.bool)
    used[[place for place in model.processor.all_special_ids if place < count]] = True
    for start in range(0, len(data), _CHUNK):
        rows = data.rows(range(start, min(start + _CHUNK, len(data))))
        # A decoder reads its answers too.
        for found in (rows.flat("input_ids"), rows.flat("labels")):
            if found is not None:
                tokens = found[0].long()
                used[tokens[(tokens >= 0) & (tokens < count)]] = True
    return used
