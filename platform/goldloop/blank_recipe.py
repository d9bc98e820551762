"""`goldloop init`: a commented recipe to start from, valid as it is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goldloop.errors import RecipeError
from goldloop.recipe import in_yaml, load
from goldloop.records import Modality
from goldloop.tasks import tasks

_FILES = """\
  - kind: files
{address}
    # label: {{from: folder, use: imported}}   # what the source knows: `imported`, `annotation` or `truth`"""
_ADDRESSES = {
    "image": "    url: data/{name}/**/*.jpg      # a folder, a glob, or any fsspec URL such as s3://bucket/photos",
    "text": "    url: data/{name}/**/*.txt      # or `kind: table` with `url: texts.csv` and `text: COLUMN`",
}
_RECIPE = """\
# {name}: {kind}. Check it with `goldloop doctor {path}`, run it with `goldloop run {path}`.
# Every field can be overridden: `goldloop run {path} training.epochs=3`.
name: {name}

# Where items come from. Content is what counts: the same bytes in two places are one item.
sources:
{source}

# What is asked of annotators.
task:
  kind: {kind}
{task}

labeling:
  annotators_per_item: 1     # 2 or more measure agreement; items they disagree on are kept out as `disputed`
  select:
    strategy: random         # or uncertainty, margin, entropy, diversity, cluster: the most useful first
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
  # sample: {{per_day: 200}}   # keep requests that say `X-Goldloop-Keep: yes` as new items

# When `goldloop watch {path}` goes round the loop by itself.
watch:
  new_items: 100
  new_labels: 50
  cool_down_minutes: 30
  rounds_per_day: 8
  # every_hours: 168         # also without a reason, once a week
"""


def write(
    name: str,
    kind: str,
    folder: Path,
    *,
    source: str | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Path:
    """Write `folder/NAME.yaml`.

    Args:
        name: the recipe's.
        kind: of its task.
        folder: where to write it.
        source: the entries of `sources:` in YAML; by default files to be filled in.
        fields: of its task; by default those of the task's own example.

    Raises:
        PluginError: no such task type.
        RecipeError: the file is there already, or the name is none.
    """
    path = folder / f"{name}.yaml"
    if path.exists():
        raise RecipeError(
            "the recipe is there already", where=path, remedy="Choose another name, or edit that one"
        )
    text = _text(name, kind, path, source, fields)
    folder.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        load(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def _text(name: str, kind: str, path: Path, source: str | None, fields: Mapping[str, Any] | None) -> str:
    task = tasks.get(kind)
    modality: Modality = task.modality
    if source is None:
        source = _FILES.format(address=_ADDRESSES[modality].format(name=name))
    if fields is None:
        fields = task.example_config()
    return _RECIPE.format(
        name=name,
        kind=kind,
        path=path,
        source=source,
        task="\n".join(f"  {field}: {in_yaml(value)}" for field, value in fields.items() if field != "kind"),
        checkpoint=task.suggested_checkpoint or in_yaml({"from-config": dict(task.small_network)}),
        fresh=in_yaml({"from-config": dict(task.small_network)}),
        metric=task.metric,
    )
