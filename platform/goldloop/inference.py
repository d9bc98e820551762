"""Trained models: the folder that one is kept in, and the one path by which all of goldloop asks it.

<model>/
  model.safetensors, config.json   the network, as transformers saves it
  tokenizer.json, ...              what turns content into its input
  goldloop.json                    task with its classes, settings, facts, and the digest of every other file

Evaluation, serving and pre-annotation all go through `answer`, so that a figure in a report is a figure of
what production answers. Only safetensors are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from goldloop import __version__
from goldloop.durable import flush
from goldloop.errors import GoldloopError, ItemError, ModelError, PluginError, RecipeError
from goldloop.records import Modality, Prediction
from goldloop.tasks import tasks
from goldloop.tasks._logits import TEMPERATURE
from goldloop.tasks.base import Batch, Model, Task

MODEL_FILE = "goldloop.json"
_FORMAT = 1
_BATCHES_AT_ONCE = 16
_THREADS = min(8, os.cpu_count() or 1)


def save_model(
    folder: Path,
    task: Task[Any],
    model: Model,
    facts: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a model folder; a reader sees the whole of it or nothing, and what was there before is replaced.

    Args:
        folder: where.
        task: what the model does, with its classes.
        model: network and processor.
        facts: what the model was made from; JSON values.
        weights: the network's state by name; by default what it holds now.
    """
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        chosen = {} if weights is None else {"state_dict": dict(weights)}
        network: Any = model.network
        with _without_bars():
            network.save_pretrained(aside, **chosen)
            model.processor.save_pretrained(aside)
        content = {
            "format": _FORMAT,
            "goldloop": __version__,
            "task": task.config.model_dump(mode="json", by_alias=True),
            "settings": model.settings,
            "facts": dict(facts),
            "files": {path.name: _digest(path) for path in sorted(aside.iterdir())},
        }
        text = json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True)
        (aside / MODEL_FILE).write_text(text + "\n", encoding="utf-8")
        for path in aside.iterdir():
            flush(path)
        if folder.exists():
            shutil.rmtree(folder)
        aside.replace(folder)
        flush(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def answer(task: Task[Any], model: Model, batch: Batch, device: torch.device) -> list[Prediction[Any]]:
    """What the network says of a batch, one prediction per example, in order.

    The network must be on `device` and in evaluation mode.
    """
    with torch.inference_mode():
        ready = task.normalize(batch.to(device), model)
        return task.predict(model, task.outputs(model, ready))


def facts_of(folder: Path) -> dict[str, Any]:
    """What the model in a folder was made from; its network is not loaded.

    Raises:
        ModelError: no model of goldloop's.
    """
    return dict(_read(folder)["facts"])


class Predictor:
    """A trained model, ready to answer from any thread.

    Args:
        task: what it does, with its classes.
        model: network and processor.
        facts: what it was made from.
        device: where it computes; by default the first GPU, else the CPU.
    """

    def __init__(
        self, task: Task[Any], model: Model, facts: Mapping[str, Any], device: str | None = None
    ) -> None:
        self.task = task
        self.model = model
        self.facts = dict(facts)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model.network.to(self.device).eval()
        self._tokenizing = threading.Lock()

    @classmethod
    def load(cls, folder: Path, device: str | None = None) -> Predictor:
        """A model from the folder that `save_model` wrote.

        Raises:
            ModelError: no model of goldloop's, a file that is absent or changed, or another task type.
        """
        content = _read(folder)
        try:
            task = tasks.create(content["task"])
        except (PluginError, RecipeError) as error:
            raise ModelError(
                "the model is of a task type that cannot be used here",
                where=folder / MODEL_FILE,
                found=str(error),
            ) from error
        _check_files(folder, content["files"])
        settings = dict(content["settings"])
        tempered = {TEMPERATURE: settings.pop(TEMPERATURE)} if TEMPERATURE in settings else {}
        model = task.model(folder, settings=settings)
        model.settings.update(tempered)
        return cls(task, model, content["facts"], device)

    def predict(self, contents: Sequence[bytes | str], batch_size: int = 32) -> list[Prediction[Any]]:
        """One prediction for each image (a file's bytes) or text, in order.

        Raises:
            ItemError: one of them cannot be read; names its position.
        """
        results = self.predict_each(contents, batch_size)
        for result in results:
            if isinstance(result, GoldloopError):
                raise result
        return [result for result in results if isinstance(result, Prediction)]

    def predict_each(
        self, contents: Sequence[bytes | str], batch_size: int = 32
    ) -> list[Prediction[Any] | GoldloopError]:
        """As `predict`, but what cannot be read fails alone: its error stands in its place."""
        results: list[Prediction[Any] | GoldloopError] = []
        window = batch_size * _BATCHES_AT_ONCE
        for start in range(0, len(contents), window):
            results += self._predict_window(contents[start : start + window], start, batch_size)
        return results

    def _predict_window(
        self, contents: Sequence[bytes | str], first: int, batch_size: int
    ) -> list[Prediction[Any] | GoldloopError]:
        results: dict[int, Prediction[Any] | GoldloopError] = {}
        rows: dict[int, Mapping[str, Any]] = {}
        for position, prepared in enumerate(self.prepare_each(contents, first)):
            if isinstance(prepared, GoldloopError):
                results[position] = prepared
            else:
                rows[position] = prepared
        order = sorted(rows, key=lambda position: len(rows[position].get("input_ids", ())))
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            predictions = self.answer_prepared([rows[position] for position in chosen])
            results.update(zip(chosen, predictions, strict=True))
        return [results[position] for position in range(len(contents))]

    def answer_prepared(self, rows: Sequence[Mapping[str, Any]]) -> list[Prediction[Any]]:
        """One prediction for each row that `prepare_each` gave, in order, by one pass of the network."""
        return answer(self.task, self.model, self.task.batch(rows, self.model), self.device)

    def prepare_each(
        self, contents: Sequence[bytes | str], first: int = 0
    ) -> list[Mapping[str, Any] | GoldloopError]:
        """Each content as the network's input, or why it cannot be read.

        Args:
            contents: images (a file's bytes) or texts.
            first: the position of the first of them, which errors count from.
        """
        places = range(first, first + len(contents))
        if self.task.modality == "text":
            # A fast tokenizer must not be used from two threads at once.
            with self._tokenizing:
                return self._prepare_texts(contents, places)
        if len(contents) == 1:
            return [self._prepare_one(contents[0], first)]
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(self._prepare_one, contents, places))

    def _prepare_texts(
        self, contents: Sequence[bytes | str], places: Sequence[int]
    ) -> list[Mapping[str, Any] | GoldloopError]:
        if all(isinstance(content, str) for content in contents):
            with suppress(ItemError):
                return list(self.task.prepare(self.model, [{"text": text} for text in contents]))
        return [self._prepare_one(content, place) for content, place in zip(contents, places, strict=True)]

    def _prepare_one(self, content: bytes | str, place: int) -> Mapping[str, Any] | GoldloopError:
        try:
            _check_modality(content, self.task.modality)
            return self.task.prepare(self.model, [{self.task.modality: content}])[0]
        except ItemError as error:
            return ItemError(
                error.problem,
                where=f"item {place}",
                found=error.found,
                expected=error.expected,
                remedy=error.remedy,
            )


def _check_modality(content: object, modality: Modality) -> None:
    fits = isinstance(content, str) if modality == "text" else isinstance(content, bytes)
    if not fits:
        expected = "a text" if modality == "text" else "the bytes of an image file"
        raise ItemError(f"the model works on {modality}s", found=type(content).__name__, expected=expected)


def _read(folder: Path) -> dict[str, Any]:
    file = folder / MODEL_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            "the folder holds no model of goldloop's", where=file, found=error.strerror
        ) from error
    except ValueError as error:
        raise ModelError("the model's description cannot be read", where=file, found=str(error)) from error
    kinds = {"task": dict, "settings": dict, "facts": dict, "files": dict}
    if (
        not isinstance(content, dict)
        or content.get("format") != _FORMAT
        or not all(isinstance(content.get(name), kind) for name, kind in kinds.items())
    ):
        raise ModelError(
            "the model's description is of another form",
            where=file,
            expected=f"format {_FORMAT} with {', '.join(kinds)}",
            remedy="Load it with the goldloop that wrote it, or train again",
        )
    return content


def _check_files(folder: Path, digests: Mapping[str, str]) -> None:
    for name, digest in digests.items():
        path = folder / name
        if path.parent != folder or not path.is_file():
            raise ModelError("a file of the model is missing", where=path)
        if _digest(path) != digest:
            raise ModelError(
                "a file of the model is not what was saved",
                where=path,
                expected=f"SHA-256 {digest}",
                remedy="Copy the model again from where it came from, or train again",
            )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _without_bars() -> Iterator[None]:
    import transformers.utils

    logs: Any = transformers.utils.logging
    shown = logs.is_progress_bar_enabled()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logs.enable_progress_bar()
