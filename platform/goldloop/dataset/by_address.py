"""Images that lie outside of a version: a row has their address, and their digest, which is its key.

    image: {"bytes": null, "path": "s3://bucket/photos/17.jpg"}, key: the SHA-256 of what is there

The bytes are had from the workspace, which keeps every image once by its content, or from the address; and
are believed only if they have the row's key. So a version is as immutable as one that holds its images: what
is missing or was changed is named, and nothing else is taken in its place. Its digest is the same, as that
depends on keys alone. An image whose address does not give just its bytes when it is committed (a row of a
table, a page, a file that is gone, an address that takes a token) lies inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.errors import GoldloopError, VersionError
from goldloop.media import MediaStore
from goldloop.records import Item, content_key

if TYPE_CHECKING:
    import pyarrow

IMAGE = "image"
_AT_ONCE = 16
"""Addresses that are asked at the same time."""


def media_beside(folder: Path) -> MediaStore:
    """The images of the workspace that a version's folder lies in; none where it lies elsewhere."""
    return MediaStore(folder.absolute().parents[2] / "media" / "items")


def fetch(media: MediaStore, key: str, address: str) -> bytes:
    """The bytes of an image, by its key.

    Args:
        media: the workspace's, which is asked first.
        key: its SHA-256.
        address: where it was found.

    Raises:
        VersionError: neither has them; says whether nothing is there, or something else.
    """
    kept = media.find(key)
    if kept is not None:
        return kept
    try:
        found = _read(address)
    except GoldloopError as error:
        raise VersionError(
            "an image is missing: it is neither in the workspace nor at its address",
            where=address,
            found=error.found or str(error),
            expected=f"SHA-256 {key}",
            remedy="Bring the file back, or `goldloop pull --full` where it lies elsewhere now",
        ) from error
    if content_key(found) != key:
        raise VersionError(
            "an image was changed: another is at its address, and none in the workspace",
            where=address,
            found=f"SHA-256 {content_key(found)}",
            expected=key,
            remedy="Bring the file back as it was",
        )
    return found


def addressed(items: Iterable[Item]) -> set[str]:
    """The keys of those images whose address gives just their bytes."""
    chosen = list(items)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return {item.key for item, fits in zip(chosen, threads.map(_is_there, chosen), strict=True) if fits}


def content_of_row(row: Mapping[str, Any], modality: str, media: MediaStore) -> bytes | str:
    """The text of a row, or the bytes of its image wherever they lie.

    Raises:
        VersionError: as `fetch`.
    """
    content: Any = row[modality]
    if modality == "text":
        return str(content)
    inside = content["bytes"]
    return fetch(media, row["key"], content["path"]) if inside is None else bytes(inside)


def filled(table: pyarrow.Table, media: MediaStore) -> pyarrow.Table:
    """Rows with the bytes of all their images.

    Raises:
        VersionError: as `fetch`.
    """
    import pyarrow

    if not count_outside(table):
        return table
    place = table.schema.get_field_index(IMAGE)
    images = table[IMAGE].combine_chunks()
    known, paths = (images.field(name).to_pylist() for name in ("bytes", "path"))
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        contents = list(
            threads.map(
                lambda inside, key, path: fetch(media, key, path) if inside is None else inside,
                known,
                table["key"].to_pylist(),
                paths,
            )
        )
    # Without the address: `datasets` would rather open it than keep the bytes.
    names = [path if inside is not None else None for inside, path in zip(known, paths, strict=True)]
    columns = [pyarrow.array(contents, pyarrow.binary()), pyarrow.array(names, pyarrow.string())]
    whole = pyarrow.StructArray.from_arrays(columns, fields=list(images.type))
    return table.set_column(place, table.schema.field(place), whole)


def count_outside(table: pyarrow.Table) -> int:
    """How many rows have their image elsewhere."""
    if IMAGE not in table.column_names:
        return 0
    return sum(chunk.field("bytes").null_count for chunk in table[IMAGE].chunks)


def each(
    contents: Iterable[Any], keys: Iterable[str], media: MediaStore
) -> Iterator[bytes | str | VersionError]:
    """The contents of rows one by one; in place of one that cannot be had, why.

    Args:
        contents: texts, or the cells of images.
        keys: the rows'.
        media: the workspace's.
    """
    for content, key in zip(contents, keys, strict=True):
        if isinstance(content, str):
            yield content
            continue
        try:
            yield content_of_row({IMAGE: content, "key": key}, IMAGE, media)
        except VersionError as error:
            yield error


def _is_there(item: Item) -> bool:
    try:
        return content_key(_read(item.uri)) == item.key
    except GoldloopError:
        return False


def _read(address: str) -> bytes:
    from goldloop.connectors._locations import locate

    location = locate(address)
    return location.read(location.path)
