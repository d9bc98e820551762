"""torchvision's detectors as networks of transformers: made from a configuration, saved as safetensors.

    checkpoint: {from-config: {model_type: torchvision-detector, architecture: fcos, backbone: resnet18}}

B = images, S = side of the square, N = objects of an image, K = points of an object. Squares come ready made:
torchvision's own resizing and normalising is left out. Nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torchvision.models import detection, mobilenet_v3_large, resnet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from transformers import AutoConfig, AutoModelForObjectDetection, PretrainedConfig, PreTrainedModel
from transformers.utils.generic import ModelOutput

Architecture = Literal["fcos", "retinanet", "faster-rcnn", "mask-rcnn", "keypoint-rcnn"]

MODEL_TYPE = "torchvision-detector"
_RESNETS = {"resnet18": (128, 256, 512), "resnet34": (128, 256, 512), "resnet50": (512, 1024, 2048)}
_STRIDES = (8, 16, 32, 64)
_LEAST_SIDE = 1e-3
"""Pixels of a side of a box that is learned."""


class DetectorConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """What a detector is made of.

    Attributes:
        architecture: `fcos` and `retinanet` look once; `faster-rcnn` twice, and with masks or points.
        backbone: `resnet18`, `resnet34`, `resnet50` or `mobilenet_v3_large`.
        channels: of the feature pyramid; 256 in the papers, 64 learns quickly on a CPU.
        image_size: side of the square in pixels.
        keypoints: names of an object's points, for `keypoint-rcnn`.
    """

    model_type = MODEL_TYPE

    def __init__(
        self,
        architecture: Architecture = "fcos",
        backbone: str = "resnet18",
        channels: int = 128,
        image_size: int = 320,
        keypoints: Sequence[str] = (),
        **fields: Any,
    ) -> None:
        self.architecture = architecture
        self.backbone = backbone
        self.channels = channels
        self.image_size = image_size
        self.keypoints = list(keypoints)
        super().__init__(**fields)


@dataclass
class DetectorOutput(ModelOutput):
    """What a detector says.

    Attributes:
        loss: a scalar, where there were labels.
        detections: else, per image: `boxes` `(N, 4)`, left, top, right, bottom in pixels of the square;
            `scores` `(N,)` in [0, 1]; `labels` `(N,)`, class ids; `masks` `(N, 1, 28, 28)` in [0, 1] of the
            box; `keypoints` `(N, K, 3)`.
    """

    loss: torch.Tensor | None = None
    detections: list[dict[str, torch.Tensor]] | None = None


class Detector(PreTrainedModel):  # type: ignore[no-untyped-call]
    """A detector of torchvision."""

    config_class = DetectorConfig
    base_model_prefix = "detector.backbone"
    main_input_name = "pixel_values"

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__(config)
        self.detector = _made(config)
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: nn.Module) -> None:
        """Torchvision has drawn them as each architecture wants."""

    def forward(
        self, pixel_values: torch.Tensor, labels: Sequence[Mapping[str, torch.Tensor]] | None = None
    ) -> DetectorOutput:
        """Detect, or learn from what is there.

        Args:
            pixel_values: float `(B, 3, S, S)`, normalised.
            labels: per image `class_labels` `(N,)`, `boxes` `(N, 4)` as middle and size in shares of the
                side, and where the architecture wants them `masks` `(N, S, S)` or `keypoints` `(N, K, 3)`
                in pixels with visibility.
        """
        _draw_anchors(self.detector, pixel_values.device)
        if labels is None:
            with _mode(self.detector, training=False):
                found = self.detector(pixel_values)
            shift = int(_has_background(self.config.architecture))
            return DetectorOutput(detections=[{**each, "labels": each["labels"] - shift} for each in found])
        with _mode(self.detector, training=True):
            losses = self.detector(pixel_values, [self._target(each, pixel_values) for each in labels])
        return DetectorOutput(loss=torch.stack([loss.float() for loss in losses.values()]).sum())

    def _target(self, label: Mapping[str, torch.Tensor], pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        side = pixels.shape[-1]
        boxes = label["boxes"].float()
        middle, size = boxes[:, :2], boxes[:, 2:]
        boxes = torch.cat([middle - size / 2, middle + size / 2], 1).clamp(0, 1) * side
        # torchvision refuses boxes without an area; to choose the others would be to wait for the device.
        boxes = torch.cat([boxes[:, :2], torch.maximum(boxes[:, 2:], boxes[:, :2] + _LEAST_SIDE)], 1)
        shift = int(_has_background(self.config.architecture))
        target = {"boxes": boxes, "labels": label["class_labels"] + shift}
        return target | {name: label[name] for name in ("masks", "keypoints") if name in label}


def register() -> None:
    """Let the auto classes of transformers know the detectors; as often as one likes."""
    AutoConfig.register(MODEL_TYPE, DetectorConfig, exist_ok=True)
    AutoModelForObjectDetection.register(DetectorConfig, Detector, exist_ok=True)


def _has_background(architecture: str) -> bool:
    """Whether class 0 stands for nothing."""
    return architecture.endswith("rcnn")


def _made(config: DetectorConfig) -> nn.Module:
    backbone = _pyramid(config.backbone, config.channels)
    classes: int = config.num_labels or 0
    common: dict[str, Any] = {"min_size": config.image_size, "max_size": config.image_size}
    model: Any
    if config.architecture == "fcos":
        anchors = AnchorGenerator(tuple((stride,) for stride in _STRIDES), ((1.0,),) * len(_STRIDES))
        model = detection.FCOS(backbone, classes, anchor_generator=anchors, score_thresh=0.05, **common)
    elif config.architecture == "retinanet":
        sizes = tuple((4 * side, int(5 * side), int(6.4 * side)) for side in _STRIDES)
        anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(_STRIDES))
        model = detection.RetinaNet(backbone, classes, anchor_generator=anchors, **common)
    else:
        model = _two_stage(config, backbone, common)
    model.transform = _AsItIs(config.image_size, config.image_size, [0.0], [1.0])
    made: nn.Module = model
    return made


def _two_stage(config: DetectorConfig, backbone: nn.Module, common: Mapping[str, Any]) -> nn.Module:
    anchors = AnchorGenerator(tuple((4 * side,) for side in _STRIDES), ((0.5, 1.0, 2.0),) * len(_STRIDES))
    names = [str(number) for number in range(len(_STRIDES) - 1)]
    fields: dict[str, Any] = {
        **common,
        "rpn_anchor_generator": anchors,
        "box_roi_pool": MultiScaleRoIAlign(names, output_size=7, sampling_ratio=2),
        "rpn_pre_nms_top_n_train": 500,
        "rpn_post_nms_top_n_train": 200,
        "rpn_pre_nms_top_n_test": 300,
        "rpn_post_nms_top_n_test": 100,
        "box_batch_size_per_image": 64,
    }
    classes = (config.num_labels or 0) + 1
    finer = MultiScaleRoIAlign(names, output_size=14, sampling_ratio=2)
    # The heads of the papers are as wide as 256 and 512 channels, too dear for a CPU.
    wide = config.channels
    model: Any
    if config.architecture == "mask-rcnn":
        heads = MaskRCNNHeads(wide, (wide,) * 4, 1)
        model = detection.MaskRCNN(backbone, classes, mask_roi_pool=finer, mask_head=heads, **fields)
        model.roi_heads.mask_predictor = MaskRCNNPredictor(wide, wide, classes)
    elif config.architecture == "keypoint-rcnn":
        model = detection.KeypointRCNN(
            backbone,
            classes,
            keypoint_roi_pool=finer,
            keypoint_head=KeypointRCNNHeads(wide, (2 * wide,) * 4),
            keypoint_predictor=KeypointRCNNPredictor(2 * wide, len(config.keypoints)),
            **fields,
        )
    elif config.architecture == "faster-rcnn":
        model = detection.FasterRCNN(backbone, classes, **fields)
    else:
        known = ", ".join(Architecture.__args__)  # type: ignore[attr-defined]
        raise ValueError(f"no architecture {config.architecture!r}; there is {known}")
    made: nn.Module = model
    return made


def _pyramid(name: str, channels: int) -> BackboneWithFPN:
    """A backbone with features at strides 8, 16, 32 and 64, all of so many channels."""
    if name == "mobilenet_v3_large":
        body = mobilenet_v3_large(weights=None).features
        layers, widths = {"6": "0", "12": "1", "16": "2"}, (40, 112, 960)
    elif name in _RESNETS:
        body = getattr(resnet, name)(weights=None)
        layers, widths = {"layer2": "0", "layer3": "1", "layer4": "2"}, _RESNETS[name]
    else:
        raise ValueError(f"no backbone {name!r}; there is mobilenet_v3_large, {', '.join(_RESNETS)}")
    return BackboneWithFPN(body, layers, list(widths), channels, LastLevelMaxPool())


class _AsItIs(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Images come as squares that are normalised, and answers stay in their pixels."""

    def forward(
        self, images: Any, targets: list[dict[str, torch.Tensor]] | None = None
    ) -> tuple[ImageList, list[dict[str, torch.Tensor]] | None]:
        sides = (int(images.shape[-2]), int(images.shape[-1]))
        return ImageList(images, [sides] * len(images)), targets

    def postprocess(self, result: Any, image_shapes: Any, original_image_sizes: Any) -> Any:
        return result


def _draw_anchors(detector: nn.Module, device: torch.device) -> None:
    """Draw the anchors again that were made on the meta device, while a checkpoint was loaded."""
    for module in detector.modules():
        if isinstance(module, AnchorGenerator) and any(cell.is_meta for cell in module.cell_anchors):
            module.cell_anchors = [
                module.generate_anchors(sizes, ratios, device=device)
                for sizes, ratios in zip(module.sizes, module.aspect_ratios, strict=True)
            ]


@contextmanager
def _mode(detector: nn.Module, *, training: bool) -> Iterator[None]:
    """Whether torchvision computes losses or answers; layers with a mode of their own keep it."""
    layers = [
        module
        for module in detector.modules()
        if not isinstance(module, nn.modules.batchnorm._BatchNorm | nn.Dropout)
    ]
    before = [module.training for module in layers]
    for module in layers:
        module.training = training
    try:
        yield
    finally:
        for module, mode in zip(layers, before, strict=True):
            module.training = mode
