"""What a Label Studio task is about: its texts, or its image from wherever the address leads.

- of any task that goldloop made: from the workspace, by the content key in the task's data
- `data:image/...;base64,...`: from the address itself
- `/data/...`, `/tasks/...` and what is relative, and `s3://`, `gs://`, `azure-blob://` of a storage: through
  the Label Studio in use, with its token
- a bucket's address where no Label Studio is in use: by fsspec, with the environment's credentials
- `http(s)://`: from there, without any token, unless it leads into this network
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import httpx

from goldloop.connectors._addresses import CLOUD, check_public, origin, through_server
from goldloop.connectors._content import Limits, image_item, joined_texts, text_item, without_secrets
from goldloop.connectors._locations import locate
from goldloop.errors import ItemError
from goldloop.labeling.access import Access
from goldloop.labeling.backend import authorization
from goldloop.records import Item
from goldloop.tasks._text_pairs import PairConfig
from goldloop.tasks.base import Task

_SECONDS = 30.0
_BUCKETS = {"s3": "s3", "gs": "gs", "azure-blob": "abfs"}
_OBJECTS = {"image": ("Image",), "text": ("Text", "HyperText", "Paragraphs")}


@dataclass(frozen=True)
class Asked:
    """An item of a task that Label Studio asks about, and its content."""

    item: Item
    content: bytes | str


class TaskReader:
    """Reads what tasks are about.

    Args:
        own: the image of a content key that the workspace has.
        access: the Label Studio in use, if there is one.
        limits: what is too large.
        max_bytes: of an image's file.
    """

    def __init__(
        self,
        own: Callable[[str], bytes | None],
        access: Callable[[], Access | None],
        limits: Limits,
        max_bytes: int,
    ) -> None:
        self._own = own
        self._access = access
        self._limits = limits
        self._max_bytes = max_bytes

    def read(self, task: Task[Any], fields: Sequence[str], asked: Mapping[str, Any]) -> Asked:
        """The item of a task, with its content.

        Args:
            task: what the model does.
            fields: the names in the task's data of what the labelling interface shows.
            asked: the task as Label Studio tells it: `id` and `data`.

        Raises:
            ItemError: a field is missing, or what it names cannot be read.
        """
        data = asked.get("data")
        data = data if isinstance(data, Mapping) else {}
        values = [_value(data, name) for name in fields]
        if task.modality == "text":
            text = joined_texts(values) if len(values) > 1 or _is_paired(task) else values[0]
            return Asked(text_item(text, f"task-{asked.get('id')}", None, {}, self._limits), text)
        key = data.get("key")
        content = self._own(key) if isinstance(key, str) else None
        if content is None:
            content = self._fetch(values[0], asked.get("id") or 0)
        return Asked(image_item(content, f"task-{asked.get('id')}", None, {}, self._limits), content)

    def _fetch(self, address: str, number: int) -> bytes:
        scheme = urlsplit(address).scheme.lower()
        if scheme == "data":
            return _inline(address)
        access = self._access()
        if access is None and scheme in _BUCKETS:
            location = locate(f"{_BUCKETS[scheme]}{address[len(scheme) :]}")
            return location.read(location.path)
        if access is None and scheme not in ("http", "https"):
            kind = "a bucket's address" if scheme in CLOUD else "an address of Label Studio's own"
            raise ItemError(
                f"{kind}, and no Label Studio is in use",
                found=without_secrets(address)[:120],
                remedy="Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY where the server runs",
            )
        if access is not None:
            address = through_server(access.url, number, address)
        try:
            return self._get(address, access)
        except httpx.HTTPError as error:
            found = without_secrets(str(error)) or type(error).__name__
            raise ItemError("the image cannot be read", found=found) from error

    def _get(self, address: str, access: Access | None) -> bytes:
        if access is not None and origin(address) == origin(access.url):
            headers = authorization(access)
            found = self._stream(address, headers)
            if isinstance(found, bytes):
                return found
            address = found
        check_public(address)
        # Without the token, which is for the server alone.
        found = self._stream(address, {})
        if isinstance(found, bytes):
            return found
        check_public(found)
        raise ItemError("the image's address leads on to another", found=without_secrets(found)[:120])

    def _stream(self, address: str, headers: Mapping[str, str]) -> bytes | str:
        """What is there; or the address that it leads on to."""
        with (
            httpx.Client(timeout=_SECONDS, trust_env=False) as client,
            client.stream("GET", address, headers={**headers, "Connection": "close"}) as response,
        ):
            if response.is_redirect:
                return urljoin(address, response.headers["location"])
            response.raise_for_status()
            content = bytearray()
            for part in response.iter_bytes():
                content += part
                if len(content) > self._max_bytes:
                    raise ItemError("the image is too large", expected=f"at most {self._max_bytes} bytes")
            return bytes(content)


def fields_of(task: Task[Any], label_config: str | None) -> tuple[str, ...]:
    """The names in a Label Studio task's data of what a model of this task reads.

    A project of goldloop's own has the task's names; another one's interface shows how they are called there.
    """
    names = task.config.names if isinstance(task.config, PairConfig) else (task.modality,)
    if label_config is None or len(names) > 1:
        return names
    kinds = _OBJECTS[task.modality]
    shown = [tag.get("value") or "" for tag in _tags(label_config) if tag.tag in kinds]
    variables = [value.removeprefix("$") for value in shown if value.startswith("$")]
    return (variables[0],) if variables and names[0] not in variables else names


@lru_cache(maxsize=64)
def controls_in(label_config: str) -> Mapping[str, tuple[str, str]]:
    """Type of control -> its name and its object's, of those that an interface has once."""
    tags = [tag for tag in _tags(label_config) if tag.get("toName")]
    kinds = [tag.tag for tag in tags]
    return {
        tag.tag.lower(): (str(tag.get("name")), str(tag.get("toName")))
        for tag in tags
        if kinds.count(tag.tag) == 1
    }


@lru_cache(maxsize=64)
def _tags(label_config: str) -> Sequence[Any]:
    """The tags of an interface; Label Studio sends it with every request."""
    from defusedxml import DefusedXmlException, ElementTree

    try:
        return list(ElementTree.fromstring(label_config).iter())
    except (ElementTree.ParseError, DefusedXmlException) as error:
        raise ItemError("the label config is no XML", found=str(error)) from error


def _is_paired(task: Task[Any]) -> bool:
    return isinstance(task.config, PairConfig)


def _value(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise ItemError(
            "the task lacks what the model works on",
            where=f"data.{name}",
            found=repr(value)[:80] if name in data else ", ".join(map(str, data)) or "nothing",
            expected="a text, or an image's address",
        )
    return value


def _inline(address: str) -> bytes:
    head, comma, body = address.partition(",")
    try:
        if not comma:
            raise ValueError("no comma")
        return base64.b64decode(body, validate=True) if head.endswith(";base64") else unquote_to_bytes(body)
    except (binascii.Error, ValueError) as error:
        raise ItemError("the `data:` address cannot be read", found=str(error)) from error
