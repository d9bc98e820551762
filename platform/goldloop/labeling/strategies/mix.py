"""`strategy: {kind: mix, parts: {uncertainty: 0.6, diversity: 0.3, random: 0.1}}`: several in turn."""

from __future__ import annotations

from pydantic import Field, field_validator
from typing_extensions import override

from goldloop.errors import GoldloopError
from goldloop.labeling.strategies.base import Pool, Strategy
from goldloop.plugins import PluginConfig, Plugins
from goldloop.records import Item


class Mix(Strategy):
    """Each strategy's own first items, as often as its share says; an item that two want comes once."""

    class Config(PluginConfig):
        """What a recipe says of it."""

        parts: dict[str, float] = Field(min_length=1)
        """Strategy -> its share; they need not add up to 1."""

        @field_validator("parts")
        @classmethod
        def _are_known(cls, parts: dict[str, float]) -> dict[str, float]:
            for kind, share in parts.items():
                if kind == "mix" or not 0 < share < float("inf"):
                    raise ValueError(f"{kind}: {share}: a part is another strategy with a share above 0")
                try:
                    _family().config({"kind": kind})
                except GoldloopError as error:
                    raise ValueError(str(error)) from error
            return parts

    @override
    def order(self, pool: Pool) -> list[Item]:
        orders = {kind: iter(_family().create({"kind": kind}).order(pool)) for kind in self.config.parts}
        given = dict.fromkeys(orders, 0)
        found: dict[str, Item] = {}
        while orders:
            # The one that is the farthest behind its share.
            kind = min(orders, key=lambda each: (given[each] + 1) / self.config.parts[each])
            item = next((item for item in orders[kind] if item.key not in found), None)
            if item is None:
                del orders[kind]
                continue
            found[item.key] = item
            given[kind] += 1
        return list(found.values())


def _family() -> Plugins[Strategy]:
    # It is made of the files beside this one.
    from goldloop.labeling.strategies import strategies

    return strategies
