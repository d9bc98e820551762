from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from goldloop.duplicates.finder import Clique, Finder
from goldloop.records import content_key

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def find(tmp_path) -> Callable[..., list[Clique]]:
    """Which of some contents, by name, are near-duplicates; names in the answer."""

    def find(contents: Mapping[str, bytes | str], rule: str = "near", where: str = "cache") -> list[Clique]:
        octets = {name: each.encode() if isinstance(each, str) else each for name, each in contents.items()}
        names = {content_key(each): name for name, each in octets.items()}
        modality = "text" if all(isinstance(each, str) for each in contents.values()) else "image"
        finder = Finder(tmp_path / where, modality, rule)
        unknown = set(finder.unknown(names))
        learnt = finder.learn((key, contents[name]) for key, name in names.items() if key in unknown)
        assert set(learnt) == unknown
        return sorted(tuple(sorted(names[key] for key in clique)) for clique in finder.cliques(list(names)))

    return find
