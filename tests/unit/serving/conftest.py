"""Servers of tiny models, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient

from goldloop.connectors._content import Limits
from goldloop.inference import Predictor
from goldloop.labeling.access import Access
from goldloop.serving.app import create_app
from goldloop.serving.config import ServingConfig
from goldloop.serving.hosted import Candidate, Models
from goldloop.serving.keys import ApiKeys
from goldloop.serving.label_studio_backend import Backend, Hint
from goldloop.serving.label_studio_media import TaskReader
from goldloop.serving.metrics import Metrics
from goldloop.serving.samples import Samples
from goldloop.tasks import tasks

FACTS = {"name": "pets", "run": "abc", "version": "pets@123"}


def predictor_of(kind: str, seed: int = 0) -> Predictor:
    """A tiny model with fresh weights, the same for the same seed."""
    task = tasks.create(tasks.get(kind).example_config())
    torch.manual_seed(seed)
    return Predictor(task, task.example_model(), FACTS, "cpu")


def candidate(kind: str, ref: str = "pets/1", seed: int = 0, **settings: object) -> Candidate:
    """That model as one that is to answer."""
    name = ref.partition("/")[0]
    config = ServingConfig.model_validate(settings)
    return Candidate(name, ref, lambda device: (predictor_of(kind, seed), config))


@contextmanager
def serving(
    kind: str | Sequence[Candidate] | Callable[[], Sequence[Candidate]],
    *,
    keys: ApiKeys | None = None,
    hint: Hint | None = None,
    own: Callable[[str], bytes | None] = lambda key: None,
    access: Callable[[], Access | None] = lambda: None,
    keep_in: Path | None = None,
    **settings: object,
) -> Iterator[TestClient]:
    """A client of a server that is ended afterwards; `client.models` are its models."""
    config = ServingConfig.model_validate(settings)
    if callable(kind):
        candidates = kind
    elif isinstance(kind, str):
        only = [candidate(kind, **settings)]
        candidates = lambda: only  # noqa: E731
    else:
        candidates = lambda: kind  # noqa: E731
    metrics = Metrics()
    models = Models(candidates, metrics, device="cpu", threads=1)
    models.refresh()
    reader = TaskReader(own, access, Limits(64, 2), config.max_request_megabytes * 1_000_000)
    backend = Backend(reader, hint, metrics)
    samples = None if keep_in is None else Samples(keep_in, hint or (lambda kind, name: None), metrics)
    no_keys = ApiKeys(Path("/nonexistent/keys.json"))
    app = create_app(models, config, keys or no_keys, metrics, backend, samples)
    with TestClient(app) as client:
        client.models = models  # type: ignore[attr-defined]
        client.metrics = metrics  # type: ignore[attr-defined]
        client.samples = samples  # type: ignore[attr-defined]
        yield client
    if samples is not None:
        samples.close()
    models.close()


@pytest.fixture(scope="session", name="serving")
def _serving() -> Callable[..., AbstractContextManager[TestClient]]:
    return serving


@pytest.fixture(scope="session", name="candidate")
def _candidate() -> Callable[..., Candidate]:
    return candidate


@pytest.fixture(scope="session", name="predictor_of")
def _predictor_of() -> Callable[..., Predictor]:
    return predictor_of
