"""`goldloop export-model`: a registered model for elsewhere, as a folder, as ONNX, and on the Hub.

folder    safetensors, config, tokenizer or image processor, card: what `transformers` loads without goldloop,
          in the layout of the Hub; with goldloop.json, `goldloop.Predictor.load` takes it too
onnx      one file in place of the weights, checked for equal answers (`registry/onnx_export.py`)
"""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from goldloop import durable, wiring
from goldloop.acts import recorded
from goldloop.errors import ModelError
from goldloop.inference import MODEL_FILE
from goldloop.loop import evaluate
from goldloop.progress import Progress, Silent
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.registry.models import ModelVersion
    from goldloop.registry.onnx_export import Check

Form = Literal["folder", "onnx"]

_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_CHECKED_WITH = 8
_WEIGHTS = (".safetensors", ".safetensors.index.json")


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """What was written.

    Attributes:
        model: `NAME/NUMBER`.
        form: which.
        folder: where.
        files: names of the files, sorted.
        check: of ONNX, how alike the answers are.
        repository: the address on the Hub that it was sent to.
    """

    model: str
    form: Form
    folder: Path
    files: tuple[str, ...]
    check: Check | None = None
    repository: str | None = None

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "folder": str(self.folder)}


@recorded
def export_model(
    model: str,
    folder: Path | None = None,
    *,
    form: Form = "folder",
    push: str | None = None,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
) -> ExportedModel:
    """Write a registered model as others read it; what was there before by an export is replaced.

    Args:
        model: `NAME` for the champion, `NAME/latest` or `NAME/NUMBER`.
        folder: where; by default `exports/NAME-NUMBER-FORM`.
        form: which.
        push: `USER/NAME` of a repository on the Hub to send it to; a new one is private.
        workspace: where the model is.
        progress: where to tell how far it is.

    Raises:
        ModelError: no such model, it cannot be written in this form, its answers would differ, the folder
            holds something else, or the Hub refuses or may not be asked.
    """
    from goldloop.registry.onnx_export import FACTS

    workspace, progress = workspace or Workspace.open(), progress or Silent()
    entry = wiring.registry(workspace).find(model)
    if push is not None:
        _check_push(push)
    target = (folder or Path("exports") / f"{entry.name}-{entry.number}-{form}").absolute()
    if not durable.may_be_replaced(target, [MODEL_FILE, FACTS]):
        raise ModelError(
            "the folder holds something else",
            where=target,
            expected="a new folder, or one that `goldloop export-model` wrote",
            remedy="Name another with --to",
        )
    with durable.replaced_folder(target) as aside:
        check = _fill(aside, entry, form, workspace, progress)
    files = tuple(sorted(path.name for path in target.iterdir()))
    address = None if push is None else _send(target, push, entry.ref, progress)
    progress.say(f"export: {entry.ref} as {form} in {target}")
    return ExportedModel(entry.ref, form, target, files, check, address)


def _fill(
    folder: Path, entry: ModelVersion, form: Form, workspace: Workspace, progress: Progress
) -> Check | None:
    from goldloop.evaluation.report import verdicts_in
    from goldloop.registry.card import CARD_FILE, model_card

    source = wiring.registry(workspace).download(entry)
    report = evaluate(entry.ref, workspace=workspace, progress=progress)
    for path in source.iterdir():
        if path.is_file() and not (form == "onnx" and path.name.endswith((*_WEIGHTS, MODEL_FILE))):
            shutil.copyfile(path, folder / path.name)
    if not (folder / CARD_FILE).exists():
        # A promoted model has its card, with what its gates said of it.
        said = verdicts_in(wiring.report_folder(workspace, entry, report.version, report.split))
        card = model_card(entry.ref, source, report, said)
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
    if form == "folder":
        return None
    from goldloop.registry.onnx_export import export

    progress.say(f"export: writing {entry.ref} as ONNX, and asking both")
    contents = _contents(entry, report.version, report.split, workspace)
    return export(wiring.predictor(workspace, entry), contents, folder, entry.ref)


def _contents(entry: ModelVersion, version: str, split: str, workspace: Workspace) -> list[bytes | str]:
    """Some items of the split that judged the model, the longest texts among them."""
    from goldloop.evaluation.rows import chunks, fair
    from goldloop.tasks import tasks

    found = wiring.version_of(workspace, entry.name, version)
    rows = found.sample(split, _CHECKED_WITH)
    contents = [
        asked.content
        for chunk in chunks(tasks.create(found.task), fair(rows, frozenset(), {}))
        for asked in chunk
    ]
    # A batch of one would be taken for all that there can be.
    return contents if len(contents) > 1 else contents * 2


def _check_push(repository: str) -> None:
    """Refuse what cannot be sent before anything is written."""
    from huggingface_hub import is_offline_mode

    if not _REPOSITORY.fullmatch(repository):
        raise ModelError("no repository of the Hub", found=repository, expected="USER/NAME")
    if is_offline_mode():
        raise ModelError(
            "the Hub may not be asked from here",
            where=repository,
            found="HF_HUB_OFFLINE is set",
            remedy="Unset HF_HUB_OFFLINE, or export without --push and upload the folder from elsewhere",
        )


def _send(folder: Path, repository: str, ref: str, progress: Progress) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    progress.say(f"export: sending {ref} to {repository}")
    api = HfApi()
    try:
        address = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=ref)
    except (OSError, HfHubHTTPError, HFValidationError, RuntimeError) as error:
        raise ModelError(
            "the Hub does not take the model",
            where=repository,
            found=" ".join(str(error).split()) or type(error).__name__,
            remedy="Log in by `hf auth login` or HF_TOKEN; the folder is written already",
        ) from error
    return str(address)
