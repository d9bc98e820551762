"""`kind: huggingface`: a pipeline of transformers, from the Hub or a folder."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import Field
from typing_extensions import override

from goldloop.errors import AnnotationError, GoldloopError, ModelError, RecipeError
from goldloop.labeling.suggesters.base import Suggester
from goldloop.plugins import PluginConfig
from goldloop.records import Item, Prediction
from goldloop.tasks.base import Task

_BATCH = 16
_ZERO_SHOT = ("zero-shot-classification", "zero-shot-image-classification")


class Huggingface(Suggester):
    """A pipeline that gives classes with their probabilities: for kinds whose answers are classes."""

    class Config(PluginConfig):
        """What a recipe says of it."""

        checkpoint: str = Field(min_length=1)
        """A hub id or a local folder; only safetensors are loaded, and no code."""
        pipeline: Literal[
            "text-classification",
            "image-classification",
            "zero-shot-classification",
            "zero-shot-image-classification",
        ]
        labels: dict[str, str] = {}
        """The checkpoint's name of a class -> the task's, where they differ."""
        threshold: float = Field(default=0.5, gt=0, lt=1)
        """Of answers that are sets of classes: from which probability on a class is in."""

    @property
    @override
    def model(self) -> str:
        return f"huggingface/{self.config.checkpoint.rstrip('/').rpartition('/')[2]}"

    @override
    def suggest(
        self, task: Task[Any], items: Sequence[Item], contents: Sequence[bytes | str]
    ) -> list[Prediction[Any] | GoldloopError]:
        if not task.answers_are_classes:
            raise RecipeError(
                "a pipeline suggests classes",
                where="labeling.suggestions",
                found=f"{task.config.kind}, whose answers are more than that",
                expected="a kind of classification",
                remedy="Use `kind: openai`, or goldloop's own model",
            )
        return [
            self._meant(task, item, scores)
            for item, scores in zip(items, self._scores(task, contents), strict=True)
        ]

    def _scores(self, task: Task[Any], contents: Sequence[bytes | str]) -> list[list[Mapping[str, Any]]]:
        """The probability of each class by its name in the checkpoint, of each content."""
        import transformers

        options: dict[str, Any] = {"batch_size": _BATCH}
        many = isinstance(next(iter(task.examples())).target, list)
        if self.config.pipeline in _ZERO_SHOT:
            options["candidate_labels"] = list(task.classes)
            if self.config.pipeline == "zero-shot-classification":
                options["multi_label"] = many
        else:
            options["top_k"] = None
            options["function_to_apply"] = "sigmoid" if many else "softmax"
        if self.config.pipeline == "text-classification":
            options["truncation"] = True
        logs: Any = transformers.utils.logging
        before = logs.get_verbosity()
        logs.set_verbosity_error()
        try:
            found = self._pipeline([_input(content) for content in contents], **options)
        finally:
            logs.set_verbosity(before)
        return [
            [
                {"label": label, "score": score}
                for label, score in zip(each["labels"], each["scores"], strict=True)
            ]
            if isinstance(each, dict)
            else each
            for each in found
        ]

    def _meant(
        self, task: Task[Any], item: Item, scores: Sequence[Mapping[str, Any]]
    ) -> Prediction[Any] | GoldloopError:
        named = {
            self.config.labels.get(each["label"], each["label"]): float(each["score"]) for each in scores
        }
        many = isinstance(next(iter(task.examples())).target, list)
        chosen: Any = max(named, key=lambda name: named[name])
        sure = named[chosen]
        if many:
            chosen = [name for name, score in named.items() if score >= self.config.threshold]
            sure = min((max(score, 1 - score) for score in named.values()), default=0.0)
        try:
            target = task.parse(chosen, item)
        except AnnotationError as error:
            return error
        return Prediction(target=target, confidence=sure, scores=named)

    @cached_property
    def _pipeline(self) -> Any:
        import torch
        import transformers

        try:
            return transformers.pipeline(
                self.config.pipeline,
                model=self.config.checkpoint,
                device=0 if torch.cuda.is_available() else -1,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        except Exception as error:
            # Whatever a checkpoint drives the loader to: OSError, ValueError, KeyError.
            raise ModelError(
                "the checkpoint cannot be loaded into a pipeline",
                where=self.config.checkpoint,
                found=str(error).splitlines()[0] if str(error) else type(error).__name__,
                remedy="Check the id or folder, and that it has safetensors and fits the pipeline",
            ) from error


def _input(content: bytes | str) -> Any:
    if isinstance(content, str):
        return content
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as image:
        return ImageOps.exif_transpose(image).convert("RGB")
