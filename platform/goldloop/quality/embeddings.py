"""Items as points: what a checkpoint's body, as it is, makes of each; computed once and kept by content.

    rows -> Task.prepare -> Task.batch -> the body of the network -> its last layer, averaged -> (N, D)

N = items, D = width of the network's last layer. Without a checkpoint that has learned anything, simpler
features stand in: words (TF-IDF, reduced) for texts, small pictures and their colours for images.

<cache>/embeddings/<way>/<digest>.npy and .json    float32 `(n, D)`, and the n items' content keys
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.durable import flush
from goldloop.errors import ModelError
from goldloop.progress import Progress
from goldloop.tasks._checkpoints import folder_of
from goldloop.tasks.base import Model, Task

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_FORMAT = 1
_PART = 1024
_BATCH = 64
_SMALL = 16
_SHADES = 8
_WORDS = 128

Row = Mapping[str, Any]
Read = Callable[[Sequence[int]], Sequence[Row]]
"""The rows at some positions: each with `key` and its content."""


def embed(
    task: Task[Any],
    checkpoint: str,
    settings: Mapping[str, Any],
    keys: Sequence[str],
    read: Read,
    cache: Path,
    progress: Progress,
) -> NDArray[Any]:
    """What a checkpoint makes of each item, float32 `(N, D)`, in order.

    Killed and called again, it goes on with what is missing; items that any earlier call embedded in the same
    way are read.

    Args:
        task: prepares and batches.
        checkpoint: a folder or a hub id.
        settings: what a recipe sets of the model.
        keys: content keys, in order.
        read: gives the rows.
        cache: the folder for what can be made again.
        progress: where to tell how far it is.

    Raises:
        ModelError: the checkpoint cannot be loaded.
        ItemError: an item cannot be read.
    """
    import numpy

    folder = cache / "embeddings" / _way(task, folder_of(checkpoint), settings)
    known = _stored(folder)
    missing = [place for place, key in enumerate(keys) if key not in known]
    if missing:
        _compute(task, task.model(checkpoint, settings=settings), keys, missing, read, folder, progress)
        known = _stored(folder)
    parts: dict[Path, NDArray[Any]] = {}
    rows = []
    for key in keys:
        path, place = known[key]
        if path not in parts:
            parts[path] = numpy.load(path, allow_pickle=False)
        rows.append(parts[path][place])
    return numpy.stack(rows)


def _way(task: Task[Any], folder: Path, settings: Mapping[str, Any]) -> str:
    """A name for how points are made: it changes with the weights, the settings and the kind of task."""
    digest = hashlib.sha256(json.dumps([_FORMAT, task.config.kind, dict(settings)], sort_keys=True).encode())
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".json", ".txt", ".model"):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _stored(folder: Path) -> dict[str, tuple[Path, int]]:
    """Key -> file and row."""
    return {
        key: (path.with_suffix(".npy"), place)
        for path in sorted(folder.glob("*.json"))
        for place, key in enumerate(json.loads(path.read_text(encoding="utf-8")))
    }


def _compute(
    task: Task[Any],
    model: Model,
    keys: Sequence[str],
    missing: Sequence[int],
    read: Read,
    folder: Path,
    progress: Progress,
) -> None:
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.network.to(device).eval()
    folder.mkdir(parents=True, exist_ok=True)
    with progress.track("embed", len(missing)) as advance:
        for start in range(0, len(missing), _PART):
            places = missing[start : start + _PART]
            rows = [{name: row[name] for name in ("key", task.modality)} for row in read(places)]
            points: Any = [None] * len(rows)
            for chosen, found in _points(task, model, rows, device):
                for place, point in zip(chosen, found, strict=True):
                    points[place] = point
                advance(len(chosen))
            _keep(folder, [keys[place] for place in places], points)


def _points(
    task: Task[Any], model: Model, rows: Sequence[Row], device: torch.device
) -> Iterator[tuple[list[int], NDArray[Any]]]:
    """Positions in `rows` with their points, texts of like length together."""
    import torch

    prepared = task.prepare(model, rows)
    order = sorted(range(len(prepared)), key=lambda place: len(prepared[place].get("input_ids", ())))
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        with torch.inference_mode():
            batch = task.normalize(task.batch([prepared[place] for place in chosen], model).to(device), model)
            points = pooled(body_of(model)(**batch.inputs), batch.inputs.get("attention_mask"))
            if "windows" in batch.context:
                points = _of_whole(points, [number for number, *_ in batch.context["windows"]], len(chosen))
        yield chosen, points.float().cpu().numpy()


def _of_whole(points: torch.Tensor, owners: Sequence[int], count: int) -> torch.Tensor:
    """The mean over the windows in which a text is read; of a text without any, the origin."""
    import torch

    places = torch.tensor(owners, device=points.device)
    sums = torch.zeros(count, points.shape[1], device=points.device).index_add_(0, places, points.float())
    counts = torch.bincount(places, minlength=count).clamp(min=1)
    return sums / counts[:, None]


def points_of(
    task: Task[Any], model: Model, contents: Sequence[bytes | str], device: torch.device
) -> NDArray[Any]:
    """What a model's own body makes of contents, float32 `(n, D)`, in order; nothing is kept.

    Raises:
        ModelError: the body gives nothing that could be an embedding.
    """
    import numpy

    rows = [{"key": str(place), task.modality: content} for place, content in enumerate(contents)]
    found: Any = [None] * len(rows)
    for chosen, points in _points(task, model, rows, device):
        for place, point in zip(chosen, points, strict=True):
            found[place] = point
    return numpy.stack(found)


def body_of(model: Model) -> Any:
    """A network without its head."""
    network: Any = model.network
    return getattr(network, "base_model", network)


def pooled(outputs: Any, mask: torch.Tensor | None = None) -> torch.Tensor:
    """One point for each example `(B, D)`: the mean over real tokens, patches or places.

    Args:
        outputs: of a body: `last_hidden_state` `(B, T, D)` or `(B, D, h, w)`.
        mask: of texts, 1 where a token is real, `(B, T)`.

    Raises:
        ModelError: the body has no such output.
    """
    state: torch.Tensor | None = getattr(outputs, "last_hidden_state", None)
    if state is None:
        raise ModelError(
            "the checkpoint's body gives nothing that could be an embedding",
            found=type(outputs).__name__,
            expected="last_hidden_state",
            remedy="Ask for folds that are trained: `--way training`",
        )
    if state.dim() == 4:
        return state.mean((2, 3))
    if mask is None:
        return state.mean(1)
    weights = mask[..., None].to(state.dtype)
    return (state * weights).sum(1) / weights.sum(1).clamp(min=1)


def _keep(folder: Path, keys: Sequence[str], points: Sequence[NDArray[Any]]) -> None:
    """Two files, the keys last: what has no keys is not there."""
    import numpy

    name = hashlib.sha256("".join(keys).encode()).hexdigest()[:16]
    for suffix, write in (
        (
            ".npy",
            lambda file: numpy.save(file, numpy.stack(points).astype(numpy.float32), allow_pickle=False),
        ),
        (".json", lambda file: file.write(json.dumps(list(keys)).encode())),
    ):
        aside = folder / f".{name}{suffix}"
        with aside.open("wb") as file:
            write(file)
        flush(aside)
        aside.replace(folder / f"{name}{suffix}")


def plain_points(task: Task[Any], contents: Sequence[Any]) -> NDArray[Any]:
    """Points without a network, float32 `(N, D)`: words of texts, small pictures of images.

    Args:
        task: says which they are.
        contents: texts, or `{"bytes": ...}` and files' bytes.
    """
    return _of_words(contents) if task.modality == "text" else _of_pictures(contents)


def _of_words(texts: Sequence[str]) -> NDArray[Any]:
    import numpy
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, analyzer="word")
    try:
        table = words.fit_transform(texts)
    except ValueError:
        # No text has a word in it.
        return numpy.zeros((len(texts), 1), dtype=numpy.float32)
    width = min(_WORDS, min(table.shape) - 1)
    if width < 2:
        return numpy.asarray(table.todense(), dtype=numpy.float32)
    points: NDArray[Any] = TruncatedSVD(width, random_state=0).fit_transform(table).astype(numpy.float32)
    return points


def _of_pictures(contents: Sequence[Any]) -> NDArray[Any]:
    import numpy
    from PIL import Image

    from goldloop.tasks._images import decode_upright

    points = []
    for content in contents:
        picture = decode_upright(content, _SMALL)
        small = numpy.asarray(picture.resize((_SMALL, _SMALL), Image.Resampling.BOX), dtype=numpy.float32)
        shades = [
            numpy.histogram(small[..., channel], bins=_SHADES, range=(0, 256))[0] / _SMALL**2
            for channel in range(3)
        ]
        points.append(numpy.concatenate([small.reshape(-1) / 255, *shades]))
    return numpy.stack(points).astype(numpy.float32)
