"""Which models a server is to answer with: the registry's champions, or those of a folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop import wiring
from goldloop.errors import ModelError
from goldloop.recipe import parse
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.inference import Predictor
    from goldloop.registry.models import ModelVersion, Registry
    from goldloop.serving.config import ServingConfig
    from goldloop.serving.hosted import Candidate


class Champions:
    """Asks the registry which models are to answer."""

    def __init__(self, workspace: Workspace, names: tuple[str, ...] | None) -> None:
        self._workspace = workspace
        self._names = names
        self._registry: Registry = wiring.registry(workspace)

    def __call__(self) -> list[Candidate]:
        """The champions now."""
        from goldloop.serving.hosted import Candidate

        return [Candidate(model.name, model.ref, partial(self._load, model)) for model in self._models()]

    def recipe_of(self, ref: str) -> dict[str, Any]:
        """The resolved recipe that a model was trained by."""
        return dict(wiring.model_facts(self._workspace, self._registry.find(ref))["recipe"])

    def config(self, ref: str) -> ServingConfig:
        """The `serving:` of a model's recipe."""
        return parse(self.recipe_of(ref), where=ref).serving

    def _models(self) -> list[ModelVersion]:
        if self._names is not None:
            return [wiring.champion_of(self._workspace, name) for name in self._names]
        champions = [model for model in self._registry.models() if "champion" in model.aliases]
        return champions or [wiring.champion_of(self._workspace, None)]

    def _load(self, model: ModelVersion, device: str) -> tuple[Predictor, ServingConfig]:
        from goldloop.inference import Predictor

        predictor = Predictor.load(self._registry.download(model), device)
        return predictor, parse(predictor.facts["recipe"], where=model.ref).serving


class Folder:
    """The models in a folder, NAME/NUMBER, of each name the one with the highest number."""

    def __init__(self, root: Path, names: tuple[str, ...] | None) -> None:
        self._root = root.absolute()
        self._names = names

    def __call__(self) -> list[Candidate]:
        """The models that are there now.

        Raises:
            ModelError: none, or not all that are to be served.
        """
        from goldloop.inference import MODEL_FILE
        from goldloop.serving.hosted import Candidate

        newest: dict[str, int] = {}
        for file in self._root.glob(f"*/*/{MODEL_FILE}"):
            name, number = file.parts[-3:-1]
            if number.isdecimal() and (self._names is None or name in self._names):
                newest[name] = max(newest.get(name, 0), int(number))
        if not newest or (self._names is not None and set(self._names) - set(newest)):
            raise ModelError(
                "the folder lacks the models that are to be served",
                where=self._root,
                found=", ".join(newest) or "none",
                expected=", ".join(self._names or ()) or f"NAME/NUMBER/{MODEL_FILE}",
            )
        return [
            Candidate(name, f"{name}/{number}", partial(self._load, f"{name}/{number}"))
            for name, number in sorted(newest.items())
        ]

    def recipe_of(self, ref: str) -> dict[str, Any]:
        """The resolved recipe that a model was trained by."""
        from goldloop.inference import facts_of

        return dict(facts_of(self._root / ref)["recipe"])

    def config(self, ref: str) -> ServingConfig:
        """The `serving:` of a model's recipe."""
        return parse(self.recipe_of(ref), where=ref).serving

    def _load(self, ref: str, device: str) -> tuple[Predictor, ServingConfig]:
        from goldloop.inference import Predictor

        return Predictor.load(self._root / ref, device), self.config(ref)


Source = Champions | Folder
"""What asks, and knows the recipes behind."""
