"""Networks of transformers: from a local folder, from a hub id, or fresh from a configuration.

Only safetensors are read and no code of a checkpoint is run: a checkpoint can be wrong, not act.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from goldloop.errors import ModelError
from goldloop.tasks._classes import nearest

if TYPE_CHECKING:
    import torch

Checkpoint = str | Path | Mapping[str, Any]

_OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
_KEPT_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")


Problem = Literal["single_label_classification", "multi_label_classification", "regression"]
"""What a network's outputs mean, in the words of transformers."""


def class_fields(classes: Sequence[str], problem: Problem = "single_label_classification") -> dict[str, Any]:
    """The fields of a transformers configuration that hold a network's outputs by name."""
    # Transformers refuses to choose between fewer than two classes; a detector of one does not choose.
    chosen = None if problem == "single_label_classification" and len(classes) < 2 else problem
    return {
        "id2label": dict(enumerate(classes)),
        "label2id": {name: number for number, name in enumerate(classes)},
        "problem_type": chosen,
    }


def fresh_config(
    checkpoint: Mapping[str, Any],
    classes: Sequence[str],
    *,
    problem: Problem = "single_label_classification",
    **fields: Any,
) -> Any:
    """The transformers configuration that `{"from-config": {...}}` describes.

    Args:
        checkpoint: what the recipe says.
        classes: class names in id order.
        problem: what the outputs mean.
        fields: what the task sets itself; the recipe's own values win.

    Raises:
        ModelError: unknown model type or field, or a value of the wrong type.
    """
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    chosen = dict(checkpoint.get("from-config") or {})
    kind = chosen.pop("model_type", None)
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise ModelError(
            "unknown model type",
            where="from-config",
            found=repr(kind),
            expected="a `model_type` of transformers, such as resnet, vit or bert",
            remedy=_did_you_mean(str(kind), list(CONFIG_MAPPING)),
        )
    known = CONFIG_MAPPING[kind]()
    for name in chosen:
        if not hasattr(known, name):
            raise ModelError(
                f"model type {kind!r} has no such field",
                where="from-config",
                found=repr(name),
                remedy=_did_you_mean(name, [field for field in vars(known) if not field.startswith("_")]),
            )
    settable = {name: value for name, value in fields.items() if hasattr(known, name)}
    with _as_model_error(f"from-config of {kind}"):
        return AutoConfig.for_model(kind, **{**settable, **chosen, **class_fields(classes, problem)})


def fresh_network(head: str, config: Any) -> torch.nn.Module:
    """A network with fresh weights in float32, drawn from torch's generator.

    Args:
        head: the auto class of transformers, such as `AutoModelForImageClassification`.
        config: a transformers configuration.

    Raises:
        ModelError: the model type has no such head, or its sizes do not fit each other.
    """
    import torch
    import transformers

    auto = getattr(transformers, head)
    if type(config) not in auto._model_mapping:
        raise ModelError(
            "the model type does not do this task",
            where="from-config",
            found=config.model_type,
            expected=f"one that transformers has an {head} of",
        )
    with quiet(), _as_model_error(f"from-config of {config.model_type}"):
        network: torch.nn.Module = auto.from_config(config, dtype=torch.float32)
    return network


def folder_of(checkpoint: str | Path) -> Path:
    """The local folder of a checkpoint; of a hub id (`owner/name`, or `owner/name@revision`), its download.

    Raises:
        ModelError: there is no such folder or id, or it cannot be had offline.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return folder
    name = str(checkpoint)
    if isinstance(checkpoint, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(
            "no such checkpoint folder",
            where=name,
            remedy="Give a folder with config.json and model.safetensors, or a hub id",
        )
    return _download(name)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    repository, _, revision = name.partition("@")
    try:
        with quiet():
            return Path(
                snapshot_download(repository, revision=revision or None, allow_patterns=list(_KEPT_FILES))
            )
    except (OSError, ValueError, HFValidationError, HfHubHTTPError) as error:
        raise ModelError(
            "the checkpoint is no local folder and cannot be had from the hub",
            where=name,
            found=f"{type(error).__name__}: {_first_line(error)}",
            remedy="Check the name and the network; offline, give a local folder or `from-config`",
        ) from error


def read_network(
    head: str,
    folder: Path,
    classes: Sequence[str],
    *,
    exact: bool,
    problem: Problem = "single_label_classification",
) -> torch.nn.Module:
    """The network in a folder, in float32, with a head for these classes.

    What was trained for other classes, or for these in another order, is replaced by fresh weights, drawn
    from torch's generator: the last layer of a classifier, the class scores of a detector. The rest is kept.

    Args:
        head: the auto class of transformers.
        folder: has config.json and safetensors.
        classes: class names in id order.
        exact: the folder holds a finished model; anything that does not fit is an error.
        problem: what the outputs mean.

    Raises:
        ModelError: the folder is unreadable, has pickles only, or does not fit.
    """
    import torch
    import transformers

    _check_folder(folder)
    auto = getattr(transformers, head)
    with quiet(), _as_model_error(folder):
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        trained_for = tuple((config.id2label or {}).values())
        same = trained_for == tuple(classes)
        if exact and not same:
            raise ModelError(
                "the model has other classes",
                where=folder,
                found=", ".join(map(str, trained_for)),
                expected=", ".join(classes),
                remedy="Use the task with the model's own classes",
            )
        for name, value in class_fields(classes, problem).items():
            setattr(config, name, value)
        replaced = frozenset[str]() if same else _weights_of_classes(auto, config)
        network, loading = auto.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            ignore_mismatched_sizes=not exact,
            output_loading_info=True,
        )
        _check_loaded(network, loading, folder, exact, replaced)
        if not same:
            _refresh_head(auto, network, replaced)
    # The folder's path would otherwise travel into every copy that is saved.
    network.config._name_or_path = ""
    loaded: torch.nn.Module = network
    return loaded


def read_whole_network(head: str, folder: Path) -> torch.nn.Module:
    """The network in a folder, in float32, exactly as it was saved: of a task without classes.

    Args:
        head: the auto class of transformers.
        folder: has config.json and safetensors.

    Raises:
        ModelError: the folder is unreadable, has pickles only, or its weights are not all there.
    """
    import torch
    import transformers

    _check_folder(folder)
    with quiet(), _as_model_error(folder):
        network, loading = getattr(transformers, head).from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        _check_loaded(network, loading, folder, exact=True, replaced=frozenset())
    network.config._name_or_path = ""
    loaded: torch.nn.Module = network
    return loaded


def read_config(folder: Path) -> Any:
    """The transformers configuration in a folder.

    Raises:
        ModelError: there is none that can be read.
    """
    from transformers import AutoConfig

    _check_folder(folder)
    with quiet(), _as_model_error(folder):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ModelError(
            "the folder holds no checkpoint",
            where=folder,
            expected="config.json and model.safetensors",
        )
    if not any(folder.glob("*.safetensors")):
        others = sorted(path.name for path in folder.iterdir() if path.suffix in _OTHER_WEIGHTS)
        raise ModelError(
            "the checkpoint has no safetensors, and nothing else is loaded",
            where=folder,
            found=", ".join(others) or "no weights",
            expected="model.safetensors",
            remedy="Save it once with `save_pretrained` in a place where you trust its pickles",
        )


def _check_loaded(
    network: Any, loading: Mapping[str, Any], folder: Path, exact: bool, replaced: frozenset[str]
) -> None:
    missing = {*loading["missing_keys"], *(name[0] for name in loading["mismatched_keys"])}
    if not exact:
        base = f"{network.base_model_prefix}."
        missing = {name for name in missing - replaced if name.startswith(base) and ".pooler." not in name}
    if missing:
        raise ModelError(
            "the checkpoint's weights do not fit its config.json",
            where=folder,
            found=f"{len(missing)} weights absent or of another shape, such as {sorted(missing)[0]}",
        )


def _weights_of_classes(auto: Any, config: Any) -> frozenset[str]:
    """The weights whose shape depends on how many classes there are, wherever in the network they lie.

    Detectors have some far within: RT-DETR scores each place of an image by class.
    """
    import torch

    shapes = []
    for more in (0, 1):
        changed = copy.deepcopy(config)
        names = [str(number) for number in range(len(config.id2label) + more)]
        for name, value in class_fields(names).items():
            setattr(changed, name, value)
        with torch.device("meta"):
            state = auto.from_config(changed).state_dict()
        shapes.append({name: tensor.shape for name, tensor in state.items()})
    return frozenset(name for name, shape in shapes[0].items() if shapes[1].get(name) != shape)


def _refresh_head(auto: Any, network: Any, replaced: frozenset[str]) -> None:
    import torch

    fresh = auto.from_config(network.config, dtype=torch.float32).state_dict()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name in replaced:
                tensor.copy_(fresh[name])


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the notes and progress bars of transformers and the hub off the terminal."""
    import huggingface_hub.utils
    import transformers.utils

    hub: Any = huggingface_hub.utils
    logs: Any = transformers.utils.logging
    verbosity, bar, hub_bar = (
        logs.get_verbosity(),
        logs.is_progress_bar_enabled(),
        not hub.are_progress_bars_disabled(),
    )
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    if hub_bar:
        hub.disable_progress_bars()
    try:
        yield
    finally:
        logs.set_verbosity(verbosity)
        if bar:
            logs.enable_progress_bar()
        if hub_bar:
            hub.enable_progress_bars()


@contextmanager
def _as_model_error(where: object) -> Iterator[None]:
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    try:
        yield
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        RuntimeError,
        ImportError,
        ZeroDivisionError,
        SafetensorError,
        StrictDataclassError,
    ) as error:
        raise ModelError(
            "the model cannot be made", where=where, found=f"{type(error).__name__}: {_first_line(error)}"
        ) from error


def _first_line(error: BaseException) -> str:
    line = " ".join(str(error).split())
    return line if len(line) <= 300 else line[:297] + "..."


def _did_you_mean(name: str, known: Sequence[str]) -> str | None:
    near = nearest(name, known)
    return f"Did you mean {near!r}?" if near else None
