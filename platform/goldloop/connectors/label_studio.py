"""`kind: label-studio`: the tasks of an existing Label Studio project, with what people annotated there.

The project is read and never written to. Its media come through the server that has them, with its token,
which is sent to no other; an address that leads elsewhere is opened only if it leads out of this network.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
from pydantic import Field, model_validator
from typing_extensions import override

from goldloop.ahead import ahead, chunks
from goldloop.connectors._addresses import check_public, origin, through_server
from goldloop.connectors._content import Limits, image_item, joined_texts, text_item, without_secrets
from goldloop.connectors._values import json_value
from goldloop.connectors.base import Chosen, Connector, ConnectorConfig, Found, Kept, Known, LabelPurpose
from goldloop.errors import ItemError, LabelStudioDenied, LabelStudioUnreachable, SourceError
from goldloop.records import Answers, Item, Quarantined

_PAGE = 100
_SECONDS = 120.0
_OUR_MARK = "Made by goldloop."


class LabelStudio(Connector):
    """One item per task; its label is what most of its annotations say, where `label` asks for it.

    Fields of a task, for `filter`, `group` and `metadata`: those of its data, `task` (its number) and
    `annotations` (how many are not skipped).
    """

    needs_server = True

    class Config(ConnectorConfig):
        """What a recipe says of it."""

        url: str | None = Field(default=None, pattern=r"^https?://[^/@]+(/|$)")
        """The server, without a user name; by default that of LABEL_STUDIO_URL."""
        token_from: str = "LABEL_STUDIO_API_KEY"  # noqa: S105 - the name of a variable
        """The environment variable with a legacy token or a personal access token."""
        project: int | str
        """Its number, or its whole title."""
        text: str | tuple[str, ...] | None = None
        """The field of a task's data with the text; or several that are judged together."""
        image: str | None = None
        """The field with the image's address."""
        label: LabelPurpose | None = None
        metadata: tuple[str, ...] = ()
        max_megapixels: float = Field(default=64, gt=0)
        max_text_megabytes: float = Field(default=2, gt=0)

        @model_validator(mode="after")
        def _has_content(self) -> LabelStudio.Config:
            if (self.text is None) == (self.image is None):
                raise ValueError("name the field of the content: `text: FIELD` or `image: FIELD`")
            return self

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._limits = Limits(config.max_megapixels, config.max_text_megabytes)

    @classmethod
    @override
    def example(cls, folder: Path) -> dict[str, Any]:
        raise SourceError("a Label Studio project is no folder", where=folder, expected="a running server")

    @override
    def read(self, known: Known) -> Iterator[Found | Kept]:
        with self._client() as client:
            project = self._project(client)
            for chunk in chunks(islice(self._chosen(client, project), self.config.limit)):
                kept = set(known.unchanged({task.uri: task.mark for task in chunk}))
                yield from ahead(partial(self._found, client, kept), chunk)

    @override
    def fingerprint(self) -> str:
        with self._client() as client:
            project = self._project(client)
            newest = self._page(client, project["id"], 0, size=1, ordering="-tasks:updated_at")
            counts = ("task_number", "total_annotations_number", "skipped_annotations_number")
            told = [project.get(name) for name in counts]
            return json.dumps([project["id"], *told, *(task.get("updated_at") for task in newest)])

    @cached_property
    def _url(self) -> str:
        url = self.config.url or os.environ.get("LABEL_STUDIO_URL")
        if not url:
            raise SourceError(
                "nothing says where the Label Studio is",
                expected="`url: https://HOST` in the source, or LABEL_STUDIO_URL",
            )
        return url.rstrip("/")

    def _client(self) -> httpx.Client:
        """A client that sends the token with every request to the server.

        Raises:
            LabelStudioDenied: there is none, or it is refused.
        """
        token = (os.environ.get(self.config.token_from) or "").strip()
        if not token:
            raise LabelStudioDenied(f"{self.config.token_from} is not set", where=self._url)
        options: dict[str, Any] = {"timeout": _SECONDS, "headers": {"Connection": "close"}}
        if token.count(".") == 2:
            with httpx.Client(**options) as client:
                answer = self._ask(client, "/api/token/refresh/", method="POST", json={"refresh": token})
            authorization = f"Bearer {answer.get('access')}"
        else:
            authorization = f"Token {token}"
        options["headers"]["Authorization"] = authorization
        return httpx.Client(**options)

    def _ask(self, client: httpx.Client, path: str, *, method: str = "GET", **request: Any) -> Any:
        where = f"{self._url}{path}"
        try:
            response = client.request(method, where, **request)
            if response.status_code in (401, 403):
                raise LabelStudioDenied(
                    f"Label Studio refuses the token of {self.config.token_from}",
                    where=where,
                    remedy="Copy one from Account & Settings in Label Studio",
                )
            if response.status_code == 404:
                return None
            response.raise_for_status()
            return response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise LabelStudioUnreachable(
                "Label Studio does not answer as it should",
                where=where,
                found=without_secrets(str(error)) or type(error).__name__,
            ) from error

    def _project(self, client: httpx.Client) -> Mapping[str, Any]:
        """The project that the recipe names.

        Raises:
            SourceError: none, several, or one that goldloop made itself.
        """
        wanted, number = self.config.project, self.config.project
        if isinstance(wanted, str):
            titles = dict(self._titles(client))
            numbers = [number for number, title in titles.items() if title == wanted]
            if len(numbers) != 1:
                raise SourceError(
                    "several projects have this title" if numbers else "no project has this title",
                    where=self._url,
                    found=", ".join(sorted(set(titles.values())))[:300],
                    expected=repr(wanted),
                    remedy="Name it by its number: `project: 12`",
                )
            number = numbers[0]
        project = self._ask(client, f"/api/projects/{number}/")
        if project is None:
            raise SourceError("there is no such project", where=f"{self._url}/projects/{number}")
        if _OUR_MARK in (project.get("description") or ""):
            raise SourceError(
                "this project is goldloop's own",
                where=f"{self._url}/projects/{number}",
                remedy="What is annotated there comes by `goldloop collect`",
            )
        return project  # type: ignore[no-any-return]

    def _titles(self, client: httpx.Client) -> Iterator[tuple[int, str]]:
        page = 1
        while True:
            query = {"include": "id,title", "page": page, "page_size": 100}
            answer = self._ask(client, "/api/projects/", params=query)
            yield from ((entry["id"], entry["title"]) for entry in answer["results"])
            if not answer["next"]:
                return
            page += 1

    def _page(
        self, client: httpx.Client, project: int, after: int, *, size: int, ordering: str = "tasks:id"
    ) -> list[Mapping[str, Any]]:
        beyond = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": after}
        query = {"ordering": [ordering], "filters": {"conjunction": "and", "items": [beyond]}}
        answer = self._ask(
            client,
            "/api/tasks/",
            params={
                "project": project, "page": 1, "page_size": size, "fields": "all", "resolve_uri": "false",
                "query": json.dumps(query),
            },
        )  # fmt: skip
        return list(answer["tasks"])

    def _chosen(self, client: httpx.Client, project: Mapping[str, Any]) -> Iterator[_Task]:
        """Every task that the filter takes, by number.

        Raises:
            SourceError: there is none, or none has a field that the recipe names.
        """
        after, empty = 0, True
        where = f"{self._url}/projects/{project['id']}"
        while page := self._page(client, project["id"], after, size=_PAGE):
            for entry in page:
                empty = False
                task = _Task(entry, f"{where}#task-{entry['id']}")
                chosen = self.choose(task.uri, task.fields)
                if isinstance(chosen, Chosen):
                    yield replace(task, group=chosen.group)
                elif chosen is not None:
                    yield replace(task, refused=chosen.reason)
            after = page[-1]["id"]
        if empty:
            raise SourceError("the project has no tasks", where=where)
        self.check_seen(where)

    def _found(self, client: httpx.Client, kept: set[str], task: _Task) -> Found | Kept:
        if task.uri in kept:
            return Kept(task.uri, task.mark)
        if task.refused is not None:
            return Found(Quarantined(uri=task.uri, reason=task.refused), task.number, mark=task.mark)
        try:
            content = self._content(client, task)
        except ItemError as error:
            return Found(Quarantined(uri=task.uri, reason=str(error)), task.number)
        try:
            return Found(self._item(task, content), task.number, mark=task.mark)
        except ItemError as error:
            return Found(Quarantined(uri=task.uri, reason=str(error)), task.number, mark=task.mark)

    def _content(self, client: httpx.Client, task: _Task) -> bytes:
        """The image's bytes; nothing of a text, which is in the task.

        Raises:
            ItemError: no address, one that may not be opened, or one that fails.
        """
        if self.config.image is None:
            return b""
        address = task.fields.get(self.config.image)
        if not isinstance(address, str) or not address:
            raise ItemError(
                "the task has no image", where=f"data.{self.config.image}", found=repr(address)[:80]
            )
        try:
            return self._fetched(client, self._resolved(task, address))
        except httpx.HTTPError as error:
            found = without_secrets(str(error)) or type(error).__name__
            raise ItemError("the image cannot be read", found=found) from error

    def _resolved(self, task: _Task, address: str) -> str:
        """Where the server, or somebody else, gives an image."""
        return through_server(self._url, task.number, address)

    def _fetched(self, client: httpx.Client, address: str) -> bytes:
        if origin(address) == origin(self._url):
            response = client.get(address)
            if not response.is_redirect:
                return response.raise_for_status().content
            address = urljoin(address, response.headers["location"])
        check_public(address)
        # Without the token, which is for the server alone.
        with httpx.Client(timeout=_SECONDS) as elsewhere:
            return elsewhere.get(address).raise_for_status().content

    def _item(self, task: _Task, content: bytes) -> Item:
        config, fields = self.config, task.fields
        metadata = {name: json_value(fields.get(name)) for name in config.metadata}
        if config.text is None:
            item = image_item(content, task.uri, task.group, metadata, self._limits)
        else:
            names = (config.text,) if isinstance(config.text, str) else config.text
            texts = [self._text(fields, name) for name in names]
            text = texts[0] if isinstance(config.text, str) else joined_texts(texts)
            item = text_item(text, task.uri, task.group, metadata, self._limits)
        if config.label is None or not task.answers:
            return item
        return replace(item, label=Answers(task.answers), label_use=config.label.use)

    def _text(self, fields: Mapping[str, Any], name: str) -> str:
        text = fields.get(name)
        if not isinstance(text, str):
            raise ItemError("the task has no text", where=f"data.{name}", found=repr(text)[:80])
        return text


@dataclass(frozen=True)
class _Task:
    """A task as the server tells it."""

    entry: Mapping[str, Any]
    uri: str
    group: str | None = None
    refused: str | None = None

    @property
    def number(self) -> int:
        return int(self.entry["id"])

    @cached_property
    def _acts(self) -> list[Mapping[str, Any]]:
        acts = (act for act in self.entry.get("annotations") or () if not act.get("was_cancelled"))
        return sorted(acts, key=lambda act: int(act["id"]))

    @property
    def answers(self) -> tuple[tuple[Mapping[str, Any], ...], ...]:
        """What each annotation says."""
        return tuple(tuple(act.get("result") or ()) for act in self._acts)

    @property
    def fields(self) -> dict[str, Any]:
        data = self.entry.get("data")
        own = {"task": self.number, "annotations": len(self._acts)}
        return {**own, **(data if isinstance(data, Mapping) else {})}

    @property
    def mark(self) -> str:
        """Changes with the task and with each of its annotations."""
        acts = [f"{act['id']} {act.get('updated_at')}" for act in self._acts]
        return " ".join([str(self.entry.get("updated_at")), *acts])
