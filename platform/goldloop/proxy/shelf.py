"""Where the bytes of an image are: in the workspace, or at the address that it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from goldloop.catalog.content import addresses_of, item_with
from goldloop.connectors._locations import locate
from goldloop.errors import GoldloopError, MediaRefused
from goldloop.media import MediaStore
from goldloop.records import Item


@dataclass(frozen=True)
class Shelf:
    """The images of all recipes.

    Attributes:
        engine: the catalog.
        store: the workspace's own copies.
        most_bytes: an image that is larger is not handed out.
    """

    engine: Engine
    store: MediaStore
    most_bytes: int

    def item(self, recipe: str, key: str) -> Item:
        """An image of the catalog.

        Raises:
            MediaRefused: there is none of that key, or it was forgotten.
        """
        with self.engine.connect() as connection:
            found = item_with(connection, recipe, key)
        if found is None or found.modality != "image":
            raise MediaRefused("no such item", code="NoSuchKey", status=404)
        return found

    def file(self, recipe: str, item: Item) -> tuple[Path, str]:
        """A file that browsers show upright, and its media type; brought from its source if it is gone.

        Raises:
            MediaRefused: its source does not have it any more, or it is too large.
        """
        if not self.store.path(item).exists() and not self._brought(recipe, item):
            raise MediaRefused(
                f"the image is not in the workspace and not at {item.uri} any more",
                code="ServiceUnavailable",
                status=503,
            )
        path, media_type = self.store.upright(item)
        if path.stat().st_size > self.most_bytes:
            raise MediaRefused("the image is too large", code="EntityTooLarge", status=413)
        return path, media_type

    def elsewhere(self, recipe: str, item: Item, seconds: int) -> str | None:
        """An address at the image's own store that is good for so long.

        None where the store signs none, or no longer has just these bytes.
        """
        for uri, mark in self._addresses(recipe, item).items():
            if mark is None or "::" in uri or "://" not in uri:
                # Rows of tables, members of archives, files of this machine.
                continue
            try:
                location = locate(uri)
            except GoldloopError:
                continue
            if (address := location.signed(location.path, seconds, mark)) is not None:
                return address
        return None

    def _brought(self, recipe: str, item: Item) -> bool:
        """Fetch an image once more; only what has the very same content is kept."""
        for uri in self._addresses(recipe, item):
            try:
                location = locate(uri)
                if self.store.keep(item, location.pieces(location.path), self.most_bytes):
                    return True
            except GoldloopError:
                # The next address may have it.
                continue
        return False

    def _addresses(self, recipe: str, item: Item) -> dict[str, str | None]:
        with self.engine.connect() as connection:
            return addresses_of(connection, recipe, item.key)
