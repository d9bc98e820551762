"""The layers of a network, in the order in which an input passes them.

    input   what comes before the first layer: embeddings, a stem; SegFormer has none
    layers  one after the other; of a network that has stages (ResNet, Swin, SegFormer), these
    head    what comes after the last layer

The networks of transformers and torchvision keep layers in lists or number them (`layer1`, `layer2`), and
name their parts in the order of use. Of several lists (an encoder's, a decoder's) one comes after the other;
lists of equal length beside each other hold parts of the same layers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

_NUMBERED = re.compile(r"(?P<stem>.*\D)(?P<number>\d+)")
_PREDICTING = frozenset({"class_embed", "bbox_embed", "enc_score_head", "enc_bbox_head"})
"""What detectors of the DETR family call heads that stand among their layers."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Where each parameter of a network belongs.

    Attributes:
        levels: name of a parameter -> its level, counted from the input on.
        names: of each level, as the network calls it; that of the last is `head`.
    """

    levels: dict[str, int]
    names: tuple[str, ...]

    @property
    def head(self) -> int:
        """The level of the head."""
        return len(self.names) - 1


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a parameter stands in the outermost list around it.

    Attributes:
        owner: the module that has the list.
        listed: the list's name in it.
        number: of the item that holds the parameter.
        item: the item's name.
        leaf: the name of the module that has the parameter.
    """

    owner: str
    listed: str
    number: int
    item: str
    leaf: str


def layers_of(network: nn.Module) -> Layers:
    """The layers of a network, with adapters in it or without."""
    outer = "adapted." if hasattr(network, "adapted") else ""
    base = outer + _base(network.get_submodule(outer.rstrip(".")))
    names = [name for name, _ in network.named_parameters()]
    before_head = [
        name for name in names if name.startswith(base) and _PREDICTING.isdisjoint(name.split("."))
    ]
    places = {name: place for name in before_head if (place := _place(network, base, name))}
    steps = _steps(places.values())
    level_of = {item: level for level, items in enumerate(steps, 1) for item in items}
    levels = dict.fromkeys(names, len(steps) + 1)
    reached = 0
    for name in before_head:
        own = level_of.get(places[name].item) if name in places else None
        if own is not None:
            levels[name] = own
            reached = max(reached, own)
        elif reached < len(steps) or not steps or _is_table(network, name):
            levels[name] = reached
    called = ("input", *(items[0].removeprefix(outer) for items in steps), "head")
    first = min(levels.values())
    return Layers({name: level - first for name, level in levels.items()}, called[first:])


def _steps(places: Iterable[_Place]) -> list[list[str]]:
    """The layers, each with the items that it is made of."""
    lists: dict[tuple[str, str], dict[tuple[int, str], set[str]]] = defaultdict(lambda: defaultdict(set))
    for place in places:
        lists[place.owner, place.listed][place.number, place.item].add(place.leaf)
    beside: dict[tuple[str, int], list[dict[tuple[int, str], set[str]]]] = defaultdict(list)
    for (owner, _), items in lists.items():
        beside[owner, len(items)].append(items)
    found: list[list[str]] = []
    for together in beside.values():
        # A list of single convolutions or norms, such as a feature pyramid's, is none of layers.
        if any(len(leaves) > 1 for items in together for leaves in items.values()):
            rows = zip(*(sorted(items) for items in together), strict=True)
            found += [[item for _, item in row] for row in rows]
    return found


def _place(network: nn.Module, base: str, name: str) -> _Place | None:
    """Where a parameter stands in the outermost list of the base; None if it is in none."""
    leaf, _, _ = name.rpartition(".")
    parts = leaf.split(".")
    for depth in range(base.count("."), len(parts)):
        before, part = parts[:depth], parts[depth]
        stem, number = _numbered(network.get_submodule(".".join(before)), part)
        if number is not None:
            listed = stem or (before.pop() if before else "")
            return _Place(".".join(before), listed, number, ".".join(parts[: depth + 1]), leaf)
    return None


def _numbered(parent: nn.Module, name: str) -> tuple[str, int | None]:
    """What a child's name begins with, and its number if it is an item of a list."""
    if name.isdigit():
        alike, stem, number = list(parent.children()), "", name
        if isinstance(parent, nn.ModuleList | nn.ModuleDict):
            return stem, int(number)
    elif match := _NUMBERED.fullmatch(name):
        stem, number = match["stem"], match["number"]
        alike = [
            child
            for other, child in parent.named_children()
            if (found := _NUMBERED.fullmatch(other)) and found["stem"] == stem
        ]
    else:
        return name, None
    is_list = len(alike) > 1 and len({type(child) for child in alike}) == 1
    return stem, int(number) if is_list else None


def _base(network: nn.Module) -> str:
    """The name of the part before the head, with a dot; empty where the network tells none."""
    for name in (getattr(network, "base_model_prefix", ""), "backbone"):
        try:
            network.get_submodule(name)
        except AttributeError:
            continue
        if name:
            return f"{name}."
    return ""


def _is_table(network: nn.Module, parameter: str) -> bool:
    """Whether layers look something up in it: it serves them all, wherever it is named."""
    return isinstance(network.get_submodule(parameter.rpartition(".")[0]), nn.Embedding)
