"""A model as one ONNX file, whose answers are checked against the network's own before anybody has it.

<folder>/
  model.onnx      the network: named inputs, `logits`; batches, and of texts lengths, as large as one likes
  onnx.json       inputs, classes, temperature, and what the check found
  README.md, tokenizer.json, preprocessor_config.json ...    as beside the model's weights

B = examples, C = classes.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.errors import ModelError
from goldloop.inference import Predictor
from goldloop.tasks._logits import TEMPERATURE
from goldloop.tasks.base import Batch

if TYPE_CHECKING:
    import torch

MODEL = "model.onnx"
FACTS = "onnx.json"
TOLERANCE = 1e-4
"""How far a logit may be from the network's own, as a share of the largest of the batch or of 1."""

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_LARGEST_FILE = 1_500_000_000
"""Weights beyond this many bytes lie in a file beside; one ONNX file holds 2 GB."""
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Check:
    """How alike the answers are.

    Attributes:
        items: how many were asked about, alone, in twos and all at once.
        difference: the largest between two logits, as a share of the largest of the batch or of 1.
        tolerance: what it may be at most.
    """

    items: int
    difference: float
    tolerance: float = TOLERANCE


def export(predictor: Predictor, contents: Sequence[bytes | str], folder: Path, ref: str) -> Check:
    """Write a model as ONNX into a folder that exists, and hold its answers against the network's.

    Args:
        predictor: the model.
        contents: some texts or images' bytes, two at least; longer and shorter ones.
        folder: where.
        ref: the model's name.

    Raises:
        ModelError: a package is missing, this network cannot be written as ONNX, or its answers would differ.
    """
    import torch

    _require_packages()
    if not predictor.task.answers_are_classes:
        raise ModelError(
            "only models whose answers are classes can be written as ONNX",
            where=ref,
            found=predictor.task.config.kind,
            remedy="Export it as a folder: `goldloop export-model MODEL folder`",
        )
    network = predictor.model.network.to(torch.device("cpu")).eval()
    whole = _batch(predictor, contents)
    names = list(whole.inputs)
    path = folder / MODEL
    _write(_logits_of(network, names).eval(), whole, predictor.task.modality == "text", path, ref)
    difference = max(
        _difference(network, _batch(predictor, contents[:count]), path)
        for count in sorted({1, min(2, len(contents)), len(contents)})
    )
    check = Check(len(contents), difference)
    if not difference <= TOLERANCE:
        raise ModelError(
            "the ONNX file answers otherwise than the model",
            where=ref,
            found=f"a difference of {difference:.1e}",
            expected=f"{TOLERANCE:g} at most",
            remedy="Export it as a folder: `goldloop export-model MODEL folder`",
        )
    facts = {
        "format": _FORMAT,
        "model": ref,
        "task": predictor.task.config.model_dump(mode="json", by_alias=True),
        "inputs": {name: _described(tensor) for name, tensor in whole.inputs.items()},
        "output": "logits",
        "classes": list(predictor.task.classes),
        "temperature": predictor.model.settings.get(TEMPERATURE, 1.0),
        "check": asdict(check),
        "packages": {name: version(name) for name in (*_PACKAGES, "torch", "transformers")},
    }
    text = json.dumps(facts, indent=2, ensure_ascii=False)
    (folder / FACTS).write_text(text + "\n", encoding="utf-8")
    return check


def _require_packages() -> None:
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ModelError(
            "packages that write ONNX are not installed",
            found=f"no {', '.join(missing)}",
            remedy="`pip install 'goldloop[onnx]'`",
        )


def _batch(predictor: Predictor, contents: Sequence[bytes | str]) -> Batch:
    task, model = predictor.task, predictor.model
    rows = task.prepare(model, [{task.modality: content} for content in contents])
    return task.normalize(task.batch(rows, model), model)


def _write(module: torch.nn.Module, batch: Batch, texts: bool, path: Path, ref: str) -> None:
    import torch

    weights = sum(value.numel() * value.element_size() for value in module.state_dict().values())
    # Examples, and of texts tokens, may be as many as one likes.
    free = {0: torch.export.Dim.DYNAMIC} | ({1: torch.export.Dim.DYNAMIC} if texts else {})
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                module,
                tuple(batch.inputs.values()),
                dynamo=True,
                verbose=False,
                input_names=list(batch.inputs),
                output_names=["logits"],
                dynamic_shapes=(tuple(dict(free) for _ in batch.inputs),),
            )
            program.save(path, external_data=weights > _LARGEST_FILE)
    except Exception as error:
        # Whatever a network does that ONNX has no word for ends in an error of its own kind.
        raise ModelError(
            "this network cannot be written as ONNX",
            where=ref,
            found=f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}",
            remedy="Export it as a folder: `goldloop export-model MODEL folder`",
        ) from error


def _difference(network: torch.nn.Module, batch: Batch, path: Path) -> float:
    """The largest difference of a batch's logits `(B, C)`, as a share of the largest of them or of 1."""
    import numpy
    import onnxruntime
    import torch

    session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = {each.name for each in session.get_inputs()}
    # What a network takes and does not heed is no input of the file.
    given = {name: tensor.numpy() for name, tensor in batch.inputs.items() if name in wanted}
    (said,) = session.run(None, given)
    with torch.inference_mode():
        own = network(**batch.inputs).logits.float().numpy()
    if said.shape != own.shape or not numpy.isfinite(said).all():
        return float("inf")
    return float(numpy.abs(said - own).max() / max(numpy.abs(own).max(), 1.0))


def _described(tensor: torch.Tensor) -> Mapping[str, Any]:
    return {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": ["batch", *tensor.shape[1:]]}


def _logits_of(network: torch.nn.Module, names: Sequence[str]) -> torch.nn.Module:
    """A network that takes its inputs in order and gives its logits alone."""
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(**dict(zip(names, inputs, strict=True))).logits
            return logits

    return Logits()
