"""`kind: openai`: a language model behind any server that speaks OpenAI's chat completions.

That is OpenAI's own, and vLLM, llama.cpp, Ollama, TGI and many more. An answer is taken only if the task can
read it: what is no JSON, names an unknown class or marks what is not there is left out with its reason, and
the rest goes on.
"""

from __future__ import annotations

import base64
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from pydantic import Field
from typing_extensions import override

from goldloop.errors import AnnotationError, GoldloopError, ModelError
from goldloop.labeling.suggesters.base import Suggester
from goldloop.plugins import PluginConfig
from goldloop.records import Item, Prediction
from goldloop.tasks.base import Task

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_PAUSE = 30.0
_FENCE = re.compile(r"^```[a-z]*\s*(.*?)\s*```$", re.DOTALL)
_SHOWN = 120


class Openai(Suggester):
    """One question for each item."""

    class Config(PluginConfig):
        """What a recipe says of it."""

        url: str = Field(pattern=r"^https?://[^@]+$")
        """Up to the version: `https://api.openai.com/v1`, `http://127.0.0.1:11434/v1`."""
        model: str = Field(min_length=1)
        key_variable: str = "OPENAI_API_KEY"
        """The environment variable that holds the key; none is sent where it is not set."""
        instructions: str | None = None
        """What the model is told besides the classes and the task's own instructions."""
        json_mode: bool = True
        """Ask the server to hold the answer to JSON; some refuse to be asked."""
        temperature: float | None = Field(default=0, ge=0)
        max_tokens: int = Field(default=1024, ge=1)
        parallel: int = Field(default=4, ge=1, le=64)
        """Questions at the same time."""
        timeout: float = Field(default=120, gt=0)
        """Seconds to wait for an answer."""
        attempts: int = Field(default=4, ge=1)

    @property
    @override
    def model(self) -> str:
        return f"openai/{self.config.model}"

    @override
    def suggest(
        self, task: Task[Any], items: Sequence[Item], contents: Sequence[bytes | str]
    ) -> list[Prediction[Any] | GoldloopError]:
        told = _told(task, self.config.instructions)
        key = os.environ.get(self.config.key_variable, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with (
            httpx.Client(timeout=self.config.timeout, headers=headers, trust_env=True) as client,
            ThreadPoolExecutor(self.config.parallel) as threads,
        ):

            def one(item: Item, content: bytes | str) -> Prediction[Any] | GoldloopError:
                try:
                    return _read(self._ask(client, told, item, content), task, item)
                except AnnotationError as error:
                    return error

            return list(threads.map(one, items, contents))

    def _ask(self, client: httpx.Client, told: str, item: Item, content: bytes | str) -> str:
        """What the model says of an item, in its own words.

        Raises:
            AnnotationError: nothing of use, about this item.
            ModelError: the server refuses us, is not there, or is none.
        """
        request: dict[str, Any] = {
            "model": self.config.model,
            "messages": [
                {"role": "system", "content": told},
                {"role": "user", "content": _question(item, content)},
            ],
            "max_tokens": self.config.max_tokens,
        }
        if self.config.temperature is not None:
            request["temperature"] = self.config.temperature
        if self.config.json_mode:
            request["response_format"] = {"type": "json_object"}
        where = f"{self.config.url.rstrip('/')}/chat/completions"
        response = self._send(client, where, request)
        if response.status_code in (400, 413, 422):
            raise AnnotationError(
                "the model was not asked", where=item.key, found=_said(response), remedy=None
            )
        if not response.is_success:
            raise ModelError(
                "the server of the model refuses the question",
                where=where,
                found=f"HTTP {response.status_code}: {_said(response)}",
                remedy=f"Check url, model and {self.config.key_variable}",
            )
        return _words(response, item)

    def _send(self, client: httpx.Client, where: str, request: Mapping[str, Any]) -> httpx.Response:
        """Ask until there is an answer that is not for the moment alone."""
        for attempt in range(1, self.config.attempts + 1):
            last = attempt == self.config.attempts
            try:
                response = client.post(where, json=request)
            except httpx.HTTPError as error:
                if last:
                    raise ModelError(
                        "the server of the model does not answer",
                        where=where,
                        found=str(error) or type(error).__name__,
                        remedy="Check that it runs, and its address",
                    ) from error
                pause = _pause(attempt, None)
            else:
                if last or response.status_code not in _PASSING:
                    return response
                pause = _pause(attempt, response.headers.get("retry-after"))
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")


def _pause(attempt: int, asked: str | None) -> float:
    """Seconds until the next attempt: what the server asks for, else twice as long each time."""
    wished = float(asked) if asked is not None and asked.isdecimal() else 0.5 * 2 ** (attempt - 1)
    return min(wished, _LONGEST_PAUSE)


def _told(task: Task[Any], instructions: str | None) -> str:
    """What a model is told of the task before it sees an item."""
    example = next(iter(task.examples())).target
    lines = [f"You annotate data. The task is {task.config.kind}."]
    if task.classes:
        lines.append(f"The classes are: {json.dumps(list(task.classes), ensure_ascii=False)}.")
    for words in (task.config.instructions, instructions):
        if words:
            lines.append(words)
    if task.answers_are_classes:
        form = (
            "a list of names of classes, possibly empty"
            if isinstance(example, list)
            else "the name of one class"
        )
        lines.append(f"An answer is {form}, spelled as above.")
    else:
        shown = json.dumps(example, ensure_ascii=False)
        lines.append(f"An answer has the form of this one, which is of another item: {shown}")
    lines.append(
        'Reply with one JSON object and nothing else: {"answer": ..., "confidence": a number from 0 to 1}.'
    )
    return "\n".join(lines)


def _question(item: Item, content: bytes | str) -> Any:
    if isinstance(content, str):
        return content
    address = f"data:{item.media_type};base64,{base64.b64encode(content).decode()}"
    return [{"type": "image_url", "image_url": {"url": address}}]


def _words(response: httpx.Response, item: Item) -> str:
    try:
        content = response.json()["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise AnnotationError(
            "the server's answer is no chat completion", where=item.key, found=_said(response)
        ) from error
    if not isinstance(content, str) or not content.strip():
        raise AnnotationError("the model says nothing", where=item.key)
    return content


def _read(words: str, task: Task[Any], item: Item) -> Prediction[Any]:
    """What a model's words mean.

    Raises:
        AnnotationError: nothing that the task can read.
    """
    text = words.strip()
    fenced = _FENCE.match(text)
    try:
        said = json.loads(fenced[1] if fenced else text)
    except ValueError as error:
        raise AnnotationError(
            "the model's answer is not JSON", where=item.key, found=repr(text[:_SHOWN])
        ) from error
    if not isinstance(said, dict) or "answer" not in said:
        raise AnnotationError(
            "the model's answer has another form",
            where=item.key,
            found=repr(text[:_SHOWN]),
            expected='{"answer": ..., "confidence": ...}',
        )
    try:
        target = task.parse(said["answer"], item)
        task.encode(target, item)
    except AnnotationError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        # Of whatever shape it is; sources give what is at least meant for the task.
        raise AnnotationError(
            "the model's answer is none to this task", where=item.key, found=repr(text[:_SHOWN])
        ) from error
    return Prediction(target=target, confidence=_confidence(said.get("confidence")))


def _confidence(said: Any) -> float:
    """In [0, 1]; one half where the model says none that means anything."""
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said <= 1:
        return 0.5
    return float(said)


def _said(response: httpx.Response) -> str:
    return " ".join(response.text.split())[:_SHOWN]
