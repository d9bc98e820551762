"""A project as it is at one moment, by Label Studio's snapshot exports.

The server writes a snapshot in one transaction, while the request waits or (where it has workers) after it,
and keeps it until it is deleted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from goldloop.errors import LabelStudioError
from goldloop.labeling import failures
from goldloop.labeling.api import Api

TITLE = "goldloop collects"
_PLACE = "/api/projects/{}/exports/"
_SECONDS = 1800
_UNDERWAY = ("created", "in_progress")
_BETWEEN_LOOKS = 0.5
_CHUNK = 1 << 20


def snapshot(api: Api, project_id: int, view: int | None = None) -> Iterator[Mapping[str, Any]]:
    """Every task with its annotations, predictions and drafts whole; nothing is left on the server.

    Args:
        api: the server.
        project_id: the project.
        view: a tab of the data manager: its tasks alone, and all if there is no such tab.

    Raises:
        LabelStudioError: the server could not write it, or it cannot be read.
    """
    place = _PLACE.format(project_id)
    whole = {"only_id": False}
    options = {
        "drafts": whole,
        "predictions": whole,
        "annotations__completed_by": whole,
        "include_annotation_history": False,
        "interpolate_key_frames": False,
    }
    request: dict[str, Any] = {"title": TITLE, "serialization_options": options}
    if view is not None:
        request["task_filter_options"] = {"view": view}
    made = api.call("POST", place, json=request, seconds=_SECONDS, again=True)
    here = f"{place}{made['id']}"
    try:
        end = time.monotonic() + _SECONDS
        while made["status"] in _UNDERWAY and time.monotonic() < end:
            time.sleep(_BETWEEN_LOOKS)
            made = api.get(here)
        if made["status"] != "completed":
            raise LabelStudioError(
                "Label Studio could not write a snapshot", where=api.url + here, found=made["status"]
            )
        yield from array_items(api.stream(f"{here}/download", {"exportType": "JSON"}))
    except ValueError as error:
        raise failures.no_label_studio(api.url + here, f"a snapshot that is {error}") from error
    finally:
        api.call("DELETE", here, again=True)


def delete_left_behind(api: Api, project_id: int) -> None:
    """Delete the snapshots of a run that was killed."""
    place = _PLACE.format(project_id)
    for old in api.get(place):
        if old["title"] == TITLE:
            api.call("DELETE", f"{place}{old['id']}", again=True)


def array_items(chunks: Iterable[bytes]) -> Iterator[Any]:
    """The elements of one JSON array that arrives in pieces; memory holds one piece and one element.

    Raises:
        ValueError: it is no JSON array, or ends before its end.
    """
    decoder = json.JSONDecoder()
    opened, buffer = False, ""
    for piece in _texts(chunks):
        buffer = (buffer + piece).lstrip()
        if not opened:
            if not buffer:
                continue
            if buffer[0] != "[":
                raise ValueError("no JSON array")
            opened, buffer = True, buffer[1:]
        while True:
            buffer = buffer.lstrip(" \t\r\n,")
            if buffer.startswith("]"):
                return
            try:
                item, end = decoder.raw_decode(buffer)
            except ValueError:
                break
            yield item
            buffer = buffer[end:]
    raise ValueError("cut short")


def _texts(chunks: Iterable[bytes]) -> Iterator[str]:
    """Whole UTF-8 texts of at least `_CHUNK` bytes, so that few attempts to parse are made in vain."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) >= _CHUNK:
            whole = _boundary(held)
            yield held[:whole].decode()
            del held[:whole]
    yield held.decode()


def _boundary(held: bytearray) -> int:
    """Where the last character that may be cut starts: before it, the bytes are whole UTF-8."""
    end = len(held) - 1
    while held[end] & 0xC0 == 0x80:
        end -= 1
    return end
