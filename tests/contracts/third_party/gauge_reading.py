"""A task type as somebody else would add it, in one file: reading a gauge, a number per image."""

import io
import json
from pathlib import Path

import datasets
import numpy
import torch
from PIL import Image, ImageDraw
from transformers import PretrainedConfig, PreTrainedModel

from goldloop.errors import AnnotationError, ModelError
from goldloop.records import Item, Prediction, content_key
from goldloop.tasks.base import Batch, Example, Model, Task, TaskConfig

SIDE = 16


class GaugeConfig(PretrainedConfig):
    model_type = "gauge"

    def __init__(self, width=16, **fields):
        self.width = width
        super().__init__(**fields)


class GaugeNetwork(PreTrainedModel):
    config_class = GaugeConfig

    def __init__(self, config):
        super().__init__(config)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(SIDE * SIDE, config.width), torch.nn.ReLU(), torch.nn.Linear(config.width, 1)
        )
        self.post_init()

    def forward(self, pixels):
        return self.layers(pixels.flatten(1).float() / 255)[:, 0]


class Processor:
    def save_pretrained(self, folder):
        (Path(folder) / "gauge.json").write_text(json.dumps({"side": SIDE}))


class GaugeReading(Task[float]):
    """What a gauge shows, from 0 to `full`."""

    class Config(TaskConfig):
        full: float = 10.0

    modality = "image"
    metric = "closeness"
    suggested_checkpoint = ""
    small_network = {"model_type": "gauge"}
    loss_options = frozenset()
    needs_size = False
    classes = ()

    def with_classes(self, classes):
        return self

    def label_config(self):
        return (
            '<View><Image name="image" value="$image"/>'
            f'<Number name="reading" toName="image" min="0" max="{self.config.full}" required="true"/></View>'
        )

    def task_data(self, item, address):
        return {"image": address}

    def parse(self, value, item):
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 <= value <= self.config.full
        ):
            raise AnnotationError("no reading", where=f"item {item.key}", found=repr(value))
        return float(value)

    def decode(self, results, item):
        (region,) = results
        if not isinstance(region, dict) or not isinstance(region.get("value"), dict):
            raise AnnotationError("no region", where=f"item {item.key}")
        if [region.get(name) for name in ("from_name", "to_name", "type")] != ["reading", "image", "number"]:
            raise AnnotationError("another control", where=f"item {item.key}")
        return self.parse(region["value"].get("number"), item)

    def encode(self, target, item):
        value = {"number": target}
        return [{"id": "r", "from_name": "reading", "to_name": "image", "type": "number", "value": value}]

    def features(self):
        return datasets.Features({"image": datasets.Image(), "reading": datasets.Value("float64")})

    def to_row(self, target):
        return {"reading": target}

    def from_row(self, row):
        return row["reading"]

    def agreement(self, a, b):
        return 1 - abs(a - b) / self.config.full

    def consensus(self, targets, policy):
        best = max(sorted(set(targets)), key=targets.count)
        return best if targets.count(best) * 2 > len(targets) or len(set(targets)) == 1 else None

    def model(self, checkpoint, *, texts=(), settings=None):
        if isinstance(checkpoint, dict):
            network = GaugeNetwork(GaugeConfig(**{"width": 16, **checkpoint.get("from-config", {})}))
        elif (Path(checkpoint) / "gauge.json").exists():
            network = GaugeNetwork.from_pretrained(checkpoint)
            network.config._name_or_path = ""
        else:
            raise ModelError("no gauge reader", where=checkpoint)
        return Model(network, Processor(), {})

    def prepare(self, model, rows):
        prepared = []
        for row in rows:
            content = row["image"]["bytes"] if isinstance(row["image"], dict) else row["image"]
            picture = content if isinstance(content, Image.Image) else Image.open(io.BytesIO(content))
            pixels = numpy.asarray(picture.convert("L").resize((SIDE, SIDE)))
            kept = {name: row[name] for name in ("key", "reading") if name in row}
            prepared.append({**kept, "pixels": torch.tensor(pixels)})
        return prepared

    def batch(self, rows, model):
        pixels = torch.stack([torch.as_tensor(row["pixels"]) for row in rows])
        known = all("reading" in row for row in rows)
        targets = torch.tensor([row["reading"] for row in rows]).float() if known else None
        return Batch({"pixels": pixels}, targets, tuple(row.get("key", "") for row in rows))

    def loss(self, outputs, batch, options=None):
        return ((outputs - batch.targets) ** 2).mean()

    def predict(self, model, outputs):
        readings = outputs.detach().clamp(0, self.config.full).tolist()
        return [Prediction(target=reading, confidence=0.5) for reading in readings]

    def summarize(self, tallies):
        return {"closeness": sum(self.agreement(*pair) for pair in tallies) / len(tallies)}

    @classmethod
    def example_config(cls):
        return {"kind": "gauge-reading", "full": 8}

    def example_model(self):
        return self.model({"from-config": {}})

    def examples(self):
        return [example(reading) for reading in range(1, 9)]


def example(reading):
    picture = Image.new("L", (32, 32), 255)
    ImageDraw.Draw(picture).rectangle((0, 32 - 4 * reading, 32, 32), fill=0)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    key = content_key(buffer.getvalue())
    facts = {"source": "0:examples", "media_type": "image/png", "width": 32, "height": 32}
    item = Item(key=key, modality="image", uri=f"example:{reading}", group=key, **facts)
    return Example(item, float(reading), buffer.getvalue())
