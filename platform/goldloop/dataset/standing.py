"""What earlier commits have fixed for the next one, read from the ledgers that it builds on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from goldloop.dataset.config import Split
from goldloop.dataset.ledger import Ledger
from goldloop.dataset.ledger_lines import Line
from goldloop.dataset.past import Ground
from goldloop.dataset.placement import Before, Place
from goldloop.dataset.policies import Policy, read_policies
from goldloop.dataset.strata import Counts

_COLUMNS = ("key", "group", "policy", "basis", "split", "held")


def standing_for_all(grounds: Sequence[Ground], split: Split) -> tuple[Before, Mapping[str, Place]]:
    """What is fixed for a commit of all labels, and the places of all items that ever had one.

    Args:
        grounds: versions to build on; what one says goes before what those after it say.
        split: the recipe's.
    """
    numbers = _Numbers(grounds, split.seed)
    places: dict[str, Place] = {}
    for ground in grounds:
        table = ground.ledger.whole_table()
        for octets, *fields in zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True):
            key = octets.hex()
            place = numbers.place(ground, Line(key, None, **dict(zip(_COLUMNS[1:], fields, strict=True))))
            if place is not None:
                places.setdefault(key, place._replace(is_row=place.is_row and ground is grounds[0]))
    groups = {place.group: place for place in reversed(places.values())}
    before = Before(
        policies=numbers.policies,
        seed=grounds[0].description["split"]["seed"] if grounds else None,
        find=lambda keys: {key: places[key] for key in keys if key in places},
        find_groups=lambda names: {name: groups[name] for name in names if name in groups},
        has_tests=bool(grounds) and grounds[0].description["counts"]["test"] > 0,
    )
    return before, places


def standing_for_some(
    grounds: Sequence[Ground], split: Split, told: Collection[str], counts: Counts
) -> tuple[Before, Mapping[str, Place]]:
    """What is fixed for a commit of changes, and the places of these items that ever had one.

    The cost is that of the changes.

    Args:
        grounds: as `standing_for_all` takes them, one at least.
        split: the recipe's.
        told: keys of the items that it tells something of.
        counts: (split, class) -> how often rows of other items name it.
    """
    numbers = _Numbers(grounds, split.seed)

    def find(keys: Iterable[str]) -> dict[str, Place]:
        asked = set(keys)
        found: dict[str, Place] = {}
        for ground in grounds:
            for key, line in ground.ledger.last_lines(asked - found.keys()).items():
                place = numbers.place(ground, line)
                if place is not None:
                    found[key] = place._replace(is_row=place.is_row and ground is grounds[0])
        return found

    def find_groups(names: Iterable[str]) -> dict[str, Place]:
        asked = set(names)
        found: dict[str, Place] = {}
        for ground in grounds:
            lines = _lines_of_groups(ground.ledger, asked - found.keys())
            places = (place for line in lines if (place := numbers.place(ground, line)) is not None)
            found |= {place.group: place for place in places if place.group in asked - found.keys()}
        return found

    before = Before(
        policies=numbers.policies,
        seed=grounds[0].description["split"]["seed"],
        find=find,
        find_groups=find_groups,
        stays=lambda key: key not in told,
        counts=counts,
        has_tests=grounds[0].description["counts"]["test"] > 0,
    )
    return before, find(told)


def former_rows(grounds: Sequence[Ground]) -> set[str]:
    """Keys of items that had a row once, and have none in the first of these versions."""
    from pyarrow import compute

    functions: Any = compute
    found: set[str] = set()
    for ground in grounds:
        table = ground.ledger.whole_table()
        names = ("held",) if ground is grounds[0] else ("held", "split")
        for name in names:
            had = table.filter(functions.is_valid(table[name]))["key"].to_pylist()
            found.update(key.hex() for key in had)
    return found


def standing_among(grounds: Sequence[Ground], keys: Collection[str], told: Collection[str]) -> set[str]:
    """Which of these items keep their rows, or had one once.

    Args:
        grounds: as `standing_for_some` takes them.
        keys: of the items.
        told: keys of those of which a commit tells something: they keep no row by themselves.
    """
    found: set[str] = set()
    for ground in grounds:
        for key, line in ground.ledger.last_lines(keys).items():
            stays = line.split is not None and (ground is not grounds[0] or key not in told)
            if stays or line.held is not None:
                found.add(key)
    return found


class _Numbers:
    """The policies of several versions as one list, and places by their numbers in it."""

    def __init__(self, grounds: Sequence[Ground], seed: int) -> None:
        self.policies: list[Policy] = []
        self._seed = seed
        self._own: dict[int, list[int]] = {}
        for ground in grounds:
            own = read_policies(ground.description)
            self.policies += [policy for policy in own if policy not in self.policies]
            self._own[id(ground)] = [self.policies.index(policy) for policy in own]

    def place(self, ground: Ground, line: Line) -> Place | None:
        """Where an item belongs by a version's line; None where it has no place by this draw."""
        split = line.split or line.held
        if split is None or line.policy is None:
            return None
        number = self._own[id(ground)][line.policy]
        if self.policies[number].seed != self._seed:
            return None
        return Place(split, line.group or line.key, number, line.basis, line.split is not None)


def _lines_of_groups(ledger: Ledger, names: set[str]) -> list[Line]:
    """A line of each group that has one: of the item that gave it its name, or of any other."""
    own = ledger.last_lines(name for name in names if _is_key(name))
    found = {key: line for key, line in own.items() if (line.group or key) == key}
    wanted = names - found.keys()
    return [*found.values(), *(ledger.of_groups(wanted) if wanted else {}).values()]


def _is_key(name: str) -> bool:
    try:
        return len(bytes.fromhex(name)) == 32
    except ValueError:
        return False
