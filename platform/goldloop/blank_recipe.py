"""`goldloop init`: a commented recipe to start from, valid as it is written."""

from __future__ import annotations

import os
from pathlib import Path

from goldloop.errors import RecipeError
from goldloop.recipe import load
from goldloop.records import Modality
from goldloop.tasks import tasks

_SOURCES = {
    "image": "    url: data/{name}/**/*.jpg      # a folder, a glob, or any fsspec URL such as s3://bucket/photos",
    "text": "    url: data/{name}/**/*.txt      # or `kind: table` with `url: texts.csv` and `text: COLUMN`",
}
_CHECKPOINTS = {
    "image": "google/vit-base-patch16-224",
    "text": "sentence-transformers/all-MiniLM-L6-v2",
}
_FRESH = {
    "image": "{from-config: {model_type: resnet, hidden_sizes: [32, 64], depths: [1, 1], layer_type: basic}}",
    "text": "{from-config: {model_type: bert, hidden_size: 128, num_hidden_layers: 2, vocab_size: 4000}}",
}

_RECIPE = """\
# {name}: {kind}. Check it with `goldloop doctor {path}`, run it with `goldloop run {path}`.
# Every field can be overridden: `goldloop run {path} training.epochs=3`.
name: {name}

# Where items come from. Content is what counts: the same bytes in two places are one item.
sources:
  - kind: files
{source}
    # label: {{from: folder, use: imported}}   # labels that the source knows: `imported` or `truth`

# What is asked of annotators.
task:
  kind: {kind}
{task}

labeling:
  annotators_per_item: 1     # 2 or more measure agreement; items they disagree on are kept out as `disputed`
  select:
    strategy: random         # or uncertainty: what the champion is least sure of first
    # batch: 200             # keep this many tasks open at a time; by default all

dataset:
  consensus: majority        # or unanimous
  split: {{train: 0.8, validation: 0.1, test: 0.1}}   # by group: an item never changes its split

training:
  checkpoint: {checkpoint}   # a hub id or a local folder; nothing is downloaded with
  # checkpoint: {fresh}
  epochs: 5
  batch_size: 32
  learning_rate: 5.0e-5

# A model is promoted only if it passes every gate.
gates:
  - {{kind: at-least, metric: {metric}, value: 0.9}}
  - {{kind: no-worse-than-champion, metric: {metric}}}

serving:
  preannotate: true          # write the champion's predictions to tasks that are still open
"""


def write(name: str, kind: str, folder: Path) -> Path:
    """Write `folder/NAME.yaml`.

    Raises:
        PluginError: no such task type.
        RecipeError: the file is there already, or the name is none.
    """
    path = folder / f"{name}.yaml"
    if path.exists():
        raise RecipeError(
            "the recipe is there already", where=path, remedy="Choose another name, or edit that one"
        )
    text = _text(name, kind, path)
    folder.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        load(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def _text(name: str, kind: str, path: Path) -> str:
    task = tasks.get(kind)
    modality: Modality = task.modality
    fields = task.example_config()
    return _RECIPE.format(
        name=name,
        kind=kind,
        path=path,
        source=_SOURCES[modality].format(name=name),
        task="\n".join(f"  {field}: {_flow(value)}" for field, value in fields.items() if field != "kind"),
        checkpoint=_CHECKPOINTS[modality],
        fresh=_FRESH[modality],
        metric=task.metric,
    )


def _flow(value: object) -> str:
    import yaml

    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).strip()
