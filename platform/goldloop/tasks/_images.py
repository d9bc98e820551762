"""Image classifiers: from the bytes of a file to what the network sees.

    bytes -> upright RGB -> uint8 (3, S, S), once -> uint8 (B, 3, S, S) -> on the device: varied, normalised

B = images in a batch, S = side in pixels. Pixels stay uint8 until they are on the device, a quarter of the
memory and of the traffic of floats.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.errors import ItemError, ModelError
from goldloop.tasks._adapters import adapted
from goldloop.tasks._checkpoints import (
    Checkpoint,
    Problem,
    folder_of,
    fresh_config,
    fresh_network,
    read_network,
)
from goldloop.tasks.base import Model

if TYPE_CHECKING:
    import torch
    from PIL import Image

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HEAD = "AutoModelForImageClassification"
_PROCESSORS = {
    _HEAD: "ViTImageProcessor",
    "AutoModelForSemanticSegmentation": "SegformerImageProcessor",
    "AutoModelForObjectDetection": "DetrImageProcessor",
}
_SETTINGS = {"image_size", "mean", "std", "classes", "lora"}
_FILE = "preprocessor_config.json"
_MOST_SQUEEZED = 4 / 3
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class ImageProcessor:
    """How images become a network's input: a square of `size` pixels, normalised by `mean` and `std`.

    `mean` and `std` are per channel, of pixels in [0, 1]; `kind` is the class of transformers that does so.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    kind: str = "ViTImageProcessor"

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the file that transformers reads, so that its pipelines can use the model too."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        side = {"height": self.size, "width": self.size}
        content = {
            "image_processor_type": self.kind,
            "do_convert_rgb": True,
            "do_resize": True,
            "size": side,
            "resample": 2,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
        }
        (Path(folder) / _FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def image_model(
    checkpoint: Checkpoint,
    classes: Sequence[str],
    settings: Mapping[str, Any] | None,
    head: str = _HEAD,
    problem: Problem = "single_label_classification",
) -> Model:
    """An image classifier, of whole images or of pixels; `Task.model` says what the arguments mean.

    Args:
        checkpoint: a folder, a hub id, or what to make a fresh network from.
        classes: class names in id order.
        settings: what a recipe sets, or a saved model's own.
        head: the auto class of transformers.
        problem: what the network's outputs mean.

    Raises:
        ModelError: the checkpoint cannot be loaded, or does not fit.
    """
    chosen = dict(settings or {})
    unknown = sorted(set(chosen) - _SETTINGS)
    if unknown:
        raise ModelError("an image model has no such setting", found=", ".join(unknown))
    if isinstance(checkpoint, Mapping):
        fields = {"image_size": chosen["image_size"]} if "image_size" in chosen else {}
        config = fresh_config(checkpoint, classes, problem=problem, **fields)
        network, saved = fresh_network(head, config), {}
    else:
        folder = folder_of(checkpoint)
        network = read_network(head, folder, classes, exact="classes" in chosen, problem=problem)
        saved = saved_settings(folder)
    own: Any = network.config
    fixed = any("position_embedding" in name for name, _ in network.named_parameters())
    processor = image_processor(own, chosen, saved, _PROCESSORS[head], fixed=fixed)
    kept = {
        "image_size": processor.size,
        "mean": list(processor.mean),
        "std": list(processor.std),
        "classes": list(classes),
    }
    return Model(adapted(network, chosen.get("lora"), head=True), processor, kept)


def image_processor(
    config: Any, chosen: Mapping[str, Any], saved: Mapping[str, Any], kind: str, *, fixed: bool
) -> ImageProcessor:
    """What turns images into the input of a network.

    Args:
        config: the configuration of the part of the network that sees the image.
        chosen: `image_size`, `mean` and `std`, where somebody chose them.
        saved: the same of the checkpoint.
        kind: the class of transformers that does so.
        fixed: whether the network takes images of one size only.

    Raises:
        ModelError: they do not fit the network.
    """
    if getattr(config, "num_channels", 3) != 3:
        raise ModelError("the network must take 3 channels", found=config.num_channels, expected="RGB")
    own = _own_size(config)
    size = int(chosen.get("image_size") or saved.get("image_size") or own or 224)
    if fixed and own is not None and own != size:
        raise ModelError(
            "the network takes images of one size only",
            found=f"image_size {size}",
            expected=own,
            remedy="Leave `image_size` out",
        )
    mean = chosen.get("mean") or saved.get("mean") or _IMAGENET[0]
    std = chosen.get("std") or saved.get("std") or _IMAGENET[1]
    return ImageProcessor(size, _triple(mean), _triple(std), kind)


def saved_settings(folder: Path) -> dict[str, Any]:
    """What a checkpoint says about its images, in any of the forms that transformers has had."""
    file = folder / _FILE
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        crop = content.get("crop_size") if content.get("do_center_crop") else None
        size = _side(crop) or _side(content.get("size"))
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError("the image settings cannot be read", where=file, found=str(error)) from error
    if content.get("do_normalize") is False:
        # RT-DETR's file names a mean and a deviation that it does not use.
        return {"image_size": size, "mean": [0.0] * 3, "std": [1.0] * 3}
    return {"image_size": size, "mean": content.get("image_mean"), "std": content.get("image_std")}


def _side(size: Any) -> int | None:
    if isinstance(size, Mapping):
        size = size.get("height") or size.get("shortest_edge")
    return int(size) if size else None


def _own_size(config: Any) -> int | None:
    size = getattr(config, "image_size", None)
    return int(size[0] if isinstance(size, list | tuple) else size) if size else None


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) != 3:
        raise ModelError("an RGB image has 3 channels", found=f"{len(values)} means or deviations")
    return (float(values[0]), float(values[1]), float(values[2]))


def prepare_image(content: Any, processor: ImageProcessor) -> torch.Tensor:
    """An image as the network's input: uint8 `(3, S, S)`.

    The whole picture is kept. Sides up to 4:3 are squeezed into the square; a longer picture is squeezed by
    4:3 and padded with the mean colour, which normalises to 0.

    Args:
        content: a file's bytes, a `datasets.Image` row (`{"bytes": ..., "path": ...}`) or a PIL image.
        processor: what the network expects.

    Raises:
        ItemError: the bytes are no image that can be decoded.
    """
    import numpy
    import torch
    from PIL import Image

    upright = decode_upright(content, processor.size)
    width, height = _fitted(upright.width, upright.height, processor.size)
    resized = upright.resize((width, height), Image.Resampling.BILINEAR)
    if (width, height) != (processor.size, processor.size):
        colour = tuple(round(255 * value) for value in processor.mean)
        square = Image.new("RGB", (processor.size, processor.size), colour)
        square.paste(resized, ((processor.size - width) // 2, (processor.size - height) // 2))
        resized = square
    pixels = numpy.array(resized, dtype=numpy.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _fitted(width: int, height: int, side: int) -> tuple[int, int]:
    """The size in pixels that a picture gets within a square."""
    squeeze = _MOST_SQUEEZED / (max(width, height) / min(width, height))
    short = side if squeeze >= 1 else max(1, round(side * squeeze))
    return (side, short) if width >= height else (short, side)


def decode_upright(content: Any, least_side: int) -> Image.Image:
    """A picture as a person sees it: upright by its EXIF orientation, RGB, on white where transparent.

    Args:
        content: see `prepare_image`.
        least_side: in pixels; larger JPEGs may be decoded at a fraction of their size, not below twice this.

    Raises:
        ItemError: the bytes are no image that can be decoded.
    """
    from PIL import ImageOps

    try:
        picture = _opened(content)
        picture.draft("RGB", (2 * least_side, 2 * least_side))
        if picture is content:
            return _rgb(ImageOps.exif_transpose(picture))
        # Of a picture that nobody else has, each copy less is a tenth of the time.
        picture.load()
        ImageOps.exif_transpose(picture, in_place=True)
        return picture if picture.mode == "RGB" and not picture.has_transparency_data else _rgb(picture)
    except _undecodable() as error:
        raise ItemError(
            "the image cannot be decoded", found=_said(error), remedy="Give a whole JPEG, PNG or WebP file"
        ) from error


def _undecodable() -> tuple[type[Exception], ...]:
    """What Pillow raises of bytes that are no image, a broken one, or one that is too large."""
    from PIL import Image

    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    return (OSError, ValueError, SyntaxError, EOFError, *bombs)


def upright_size(content: Any) -> tuple[int, int]:
    """Width and height in pixels of a picture as a person sees it; only the file's head is read.

    Args:
        content: see `prepare_image`.

    Raises:
        ItemError: the bytes are no image.
    """
    try:
        picture = _opened(content)
        turned = picture.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
    except _undecodable() as error:
        raise ItemError("the image cannot be decoded", found=_said(error)) from error
    return (picture.height, picture.width) if turned else (picture.width, picture.height)


def _opened(content: Any) -> Image.Image:
    from PIL import Image

    if isinstance(content, Image.Image):
        return content
    if isinstance(content, Mapping):
        data, path = content.get("bytes"), content.get("path")
        content = Path(path).read_bytes() if data is None and path else data
    if not isinstance(content, bytes | bytearray | memoryview):
        raise ValueError(f"{type(content).__name__} is no image")
    return Image.open(io.BytesIO(content))


def _rgb(picture: Image.Image) -> Image.Image:
    import numpy
    from PIL import Image

    if picture.mode.startswith("I"):
        # 16-bit greys: Pillow's own conversion clips them to white.
        picture = Image.fromarray((numpy.asarray(picture).clip(0, 65535) // 257).astype(numpy.uint8))
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, layer)
    return picture.convert("RGB")


def normalize_pixels(pixels: torch.Tensor, processor: ImageProcessor) -> torch.Tensor:
    """Pixels in [0, 255] as the network wants them: float32 of about mean 0 and deviation 1."""
    scale, shift = _scale_and_shift(processor.mean, processor.std, pixels.device)
    return pixels.float() * scale + shift


@functools.lru_cache(maxsize=16)
def _scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    with torch.inference_mode(False):
        means, deviations = (
            torch.tensor(values, device=device, dtype=torch.float32).view(1, 3, 1, 1)
            for values in (mean, std)
        )
        return 1 / (255 * deviations), -means / deviations


def _said(error: Exception) -> str:
    """A decoder's complaint, without the address of the object in memory that Pillow puts in it."""
    return str(error).partition(" <_io.")[0]
