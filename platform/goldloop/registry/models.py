"""The model registry: numbered models of each recipe, and which of them is champion.

Kept in MLflow's registry, with goldloop's own model folder as the source; nothing is pickled. The aliases:
`challenger` is the latest that was registered and not promoted, `champion` is in production, `previous`
was it before. Each change writes its aliases in an order such that a process killed between two of them
can do it again and ends where it would have.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from goldloop.errors import GateRefused, ModelError
from goldloop.evaluation.gates.base import Verdict
from goldloop.evaluation.report import Report
from goldloop.registry.connection import RUN_TAG, Connection
from goldloop.registry.entry import ModelVersion, entry_of, tags_of
from goldloop.registry.judgement import Judgement, keep

__all__ = ["CHALLENGER", "CHAMPION", "PREVIOUS", "ModelVersion", "Registry"]

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"

_ROLLBACK = "goldloop.rollback"


class Registry:
    """The models in an MLflow registry that goldloop put there.

    Every method raises ModelError where MLflow cannot be reached.

    Args:
        uri: of an MLflow server or database.
        root: a folder of this machine for what is fetched from a server.
    """

    def __init__(self, uri: str, root: Path) -> None:
        self._connection = Connection(uri, root)

    def register(
        self, name: str, folder: Path, *, run: str, version: str, metric: str, value: float | None
    ) -> ModelVersion:
        """Register a run's model as challenger; one that is registered keeps its number.

        Args:
            name: the recipe's.
            folder: the model, as `save_model` wrote it. A server is sent a copy.
            run: goldloop's run id.
            version: what it was trained on.
            metric: the task's metric.
            value: what it reached on the validation split.
        """
        with self._connection.failures():
            client = self._connection.client
            self._ensure_name(name)
            found = [model for model in self._of(name) if model.run == run]
            if not found:
                tracked = self._connection.run(name, run)
                source = self._keep(tracked, folder)
                tags = tags_of(run, version, metric, value)
                client.create_model_version(name, source, tracked.info.run_id, tags)
                found = [model for model in self._of(name) if model.run == run]
            if CHAMPION not in found[0].aliases:
                client.set_registered_model_alias(name, CHALLENGER, str(found[0].number))
            return self._get(name, found[0].number)

    def models(self, name: str | None = None) -> list[ModelVersion]:
        """Registered models of one recipe or of all, by name and number."""
        with self._connection.failures():
            if name is not None:
                return self._of(name)
            client = self._connection.client
            registered = {each.name: _numbers(each) for each in _pages(client.search_registered_models)}
            found = [each for each in _pages(client.search_model_versions) if RUN_TAG in each.tags]
            models = [entry_of(each, registered.get(each.name, {})) for each in found]
            return sorted(models, key=lambda model: (model.name, model.number))

    def find(self, model: str) -> ModelVersion:
        """A model by `NAME` (its champion), `NAME/latest`, `NAME/ALIAS` or `NAME/NUMBER`.

        Raises:
            ModelError: there is none.
        """
        name, _, which = model.partition("/")
        which = which or CHAMPION
        models = self.models(name)
        if not models:
            raise self._unknown(name)
        if which == "latest":
            return models[-1]
        for found in models:
            if which == str(found.number) or which in found.aliases:
                return found
        if which == CHAMPION:
            raise ModelError(
                "no model is champion yet",
                where=name,
                remedy=f"Promote one, `goldloop promote {name}/latest`, or name one, `{name}/latest`",
            )
        known = ", ".join(str(found.number) for found in models)
        raise ModelError(
            "there is no such model", where=model, expected=f"{name}/latest or a number: {known}"
        )

    def of_run(self, name: str, run: str) -> ModelVersion:
        """The model of a run.

        Raises:
            ModelError: it is not registered.
        """
        for found in self.models(name):
            if found.run == run:
                return found
        raise ModelError(
            "the run's model is not registered", where=f"{name}, run {run}", remedy="Train again"
        )

    def champion(self, name: str) -> ModelVersion | None:
        """The model in production; None while there is none."""
        return self._by_alias(name, CHAMPION)

    def challenger(self, name: str) -> ModelVersion | None:
        """The latest model that was registered and not promoted."""
        return self._by_alias(name, CHALLENGER)

    def download(self, model: ModelVersion) -> Path:
        """The model's folder on this machine; fetched once where MLflow keeps it elsewhere.

        Raises:
            ModelError: it is gone.
        """
        parts = urlsplit(model.source)
        if parts.scheme in ("", "file"):
            folder = Path(unquote(parts.path))
        else:
            folder = self._connection.root / "downloads" / model.name / f"{model.number}-{model.run}"
            if not folder.is_dir():
                self._fetch(model, folder)
        if not folder.is_dir():
            raise ModelError(
                "the model's folder is gone", where=model.ref, found=folder, remedy="Train again"
            )
        return folder

    def promote(
        self,
        model: ModelVersion,
        verdicts: Sequence[Verdict],
        report: Report,
        *,
        override: tuple[str, str] | None = None,
    ) -> ModelVersion:
        """Make a model champion; the present one is then `previous`. The champion stays as it is.

        What the gates said is kept with the model, whatever they said.

        Args:
            model: which.
            verdicts: what the gates said.
            report: what they judged.
            override: who lets the model through in spite of them, and why.

        Raises:
            GateRefused: a gate failed; names each.
        """
        judgement = Judgement(verdicts, report, override)
        with self._connection.failures():
            self._finish_rollback(model.name)
            client = self._connection.client
            aliases = self._aliases(model.name)
            if aliases.get(CHAMPION) == model.number:
                self._drop_challenger(model)
                return self._get(model.name, model.number)
            keep(client, model, self.download(model), judgement)
            if not judgement.lets_through:
                refused = judgement.refused
                raise GateRefused(
                    f"{len(refused)} of {len(verdicts)} gates refuse the model",
                    where=model.ref,
                    found="; ".join(f"{verdict.gate}: {verdict.explanation}" for verdict in refused),
                )
            if CHAMPION in aliases:
                client.set_registered_model_alias(model.name, PREVIOUS, str(aliases[CHAMPION]))
            client.set_registered_model_alias(model.name, CHAMPION, str(model.number))
            self._drop_challenger(model)
            return self._get(model.name, model.number)

    def rollback(self, name: str) -> ModelVersion:
        """Make the former champion champion again, and the present one `previous`.

        Killed and called again, it ends what it began.

        Raises:
            ModelError: there is no former champion.
        """
        with self._connection.failures():
            begun = self._finish_rollback(name)
            if begun is not None:
                return begun
            aliases = self._aliases(name)
            if not aliases and not self._of(name):
                raise self._unknown(name)
            champion, previous = aliases.get(CHAMPION), aliases.get(PREVIOUS)
            if champion is None or previous is None or champion == previous:
                raise ModelError(
                    "there is no former champion to go back to",
                    where=name,
                    found=f"champion {name}/{champion}" if champion is not None else "no champion",
                    remedy=f"Promote a model by its number: `goldloop promote {name}/NUMBER`",
                )
            intent = f"{champion} to {previous}"
            self._connection.client.set_registered_model_tag(name, _ROLLBACK, intent)
            return self._restore(name, intent)

    def _finish_rollback(self, name: str) -> ModelVersion | None:
        """Do what a rollback that was killed has written down; None if there was none."""
        registered = self._registered(name)
        intent = registered.tags.get(_ROLLBACK) if registered is not None else None
        return None if intent is None else self._restore(name, intent)

    def _restore(self, name: str, intent: str) -> ModelVersion:
        client = self._connection.client
        former, restored = intent.split(" to ")
        client.set_registered_model_alias(name, CHAMPION, restored)
        client.set_registered_model_alias(name, PREVIOUS, former)
        client.delete_registered_model_tag(name, _ROLLBACK)
        return self._get(name, int(restored))

    def _ensure_name(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        if self._registered(name) is None:
            try:
                self._connection.client.create_registered_model(name)
            except MlflowException:
                if self._registered(name) is None:
                    raise

    def _keep(self, tracked: Any, folder: Path) -> str:
        """Where a model's folder is found from now on."""
        if not self._connection.remote:
            return folder.absolute().as_uri()
        self._connection.client.log_artifacts(tracked.info.run_id, str(folder), "model")
        return f"{tracked.info.artifact_uri}/model"

    def _fetch(self, model: ModelVersion, folder: Path) -> None:
        from mlflow.artifacts import download_artifacts

        aside = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            with self._connection.failures():
                fetched = download_artifacts(
                    artifact_uri=model.source, dst_path=str(aside), tracking_uri=self._connection.uri
                )
                if not folder.is_dir():
                    Path(fetched).replace(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _drop_challenger(self, model: ModelVersion) -> None:
        if self._aliases(model.name).get(CHALLENGER) == model.number:
            self._connection.client.delete_registered_model_alias(model.name, CHALLENGER)

    def _registered(self, name: str) -> Any:
        """MLflow's registered model; None where there is none of that name."""
        from mlflow.exceptions import MlflowException

        client = self._connection.client
        try:
            return client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _aliases(self, name: str) -> dict[str, int]:
        registered = self._registered(name)
        return {} if registered is None else _numbers(registered)

    def _of(self, name: str) -> list[ModelVersion]:
        registered = self._registered(name)
        if registered is None:
            return []
        found = _pages(self._connection.client.search_model_versions, filter_string=f"name = '{name}'")
        models = [entry_of(each, _numbers(registered)) for each in found if RUN_TAG in each.tags]
        return sorted(models, key=lambda model: model.number)

    def _get(self, name: str, number: int) -> ModelVersion:
        return entry_of(self._connection.client.get_model_version(name, str(number)), self._aliases(name))

    def _by_alias(self, name: str, alias: str) -> ModelVersion | None:
        with self._connection.failures():
            number = self._aliases(name).get(alias)
            return None if number is None else self._get(name, number)

    def _unknown(self, name: str) -> ModelError:
        known = ", ".join(sorted({model.name for model in self.models()}))
        return ModelError(
            "no model is registered under this name",
            where=name,
            expected=f"one of {known}" if known else None,
            remedy="Train one: `goldloop train RECIPE`",
        )


def _numbers(registered: Any) -> dict[str, int]:
    """Alias -> number of an MLflow registered model."""
    return {alias: int(number) for alias, number in registered.aliases.items()}


def _pages(search: Any, **arguments: Any) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = search(**arguments, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
