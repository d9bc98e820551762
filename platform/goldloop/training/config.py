"""What a recipe says under `training:`. Every default is one that a newcomer can leave alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, lt=1)]

FALLBACK = 5e-5
"""A learning rate that suits most encoders: what a recipe has that names none."""

_ADAM_FAMILY = ("adamw", "adam", "nadam", "radam")
_WITH_MOMENTUM = ("sgd", "muon")


class FromConfig(BaseModel):
    """`checkpoint: {from-config: {model_type: resnet, ...}}`: fresh weights, nothing downloaded."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    from_config: dict[str, Any] = Field(alias="from-config")

    @model_validator(mode="after")
    def _names_a_model_type(self) -> FromConfig:
        if not isinstance(self.from_config.get("model_type"), str):
            raise ValueError("from-config needs a `model_type` of transformers, such as resnet, vit or bert")
        return self


class EarlyStopping(BaseModel):
    """Stop when the task's metric on the validation split has stopped to rise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patience: int = Field(default=3, ge=1)
    """Evaluations without a rise before the run stops; while the learning rate warms up none counts."""
    minimum_rise: float = Field(default=0.0, ge=0.0)


class Lora(BaseModel):
    """Train small matrices beside a network's own, which stay as they are: it takes less memory.

    The model is an ordinary one in the end. What comes after the last layer of a network that does not write
    learns as a whole.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(default=16, ge=1)
    """The smaller side of each of these matrices."""
    alpha: float = Field(default=32, gt=0)
    """Their product counts `alpha / rank` times."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Literal["all-linear"] | list[str] = "all-linear"
    """Names of layers, as the network calls them, such as `q_proj`."""


class Freeze(BaseModel):
    """Layers that stay as the checkpoint has them, running means of their norms included."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """How many from the input on, the embeddings being the first; of a network with stages, these count.

    `all`: all but the head, which is what comes after the last layer.
    """
    thaw_every: float | None = Field(default=None, gt=0)
    """Epochs after which each time the topmost frozen layer begins to learn; None: they stay frozen."""


class Augmentation(BaseModel):
    """How training images are varied, anew in each epoch, on the device, their boxes and masks with them.

    A share is the probability in [0, 1] that an image, or for `mixup`, `cutmix` and `mosaic` a batch, is
    changed so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    geometry: bool = True
    """A little turned, moved and scaled."""
    colour: bool = True
    """A little lighter or darker, with more or less contrast."""
    crop: float | None = Field(default=None, gt=0, le=1)
    """The least share of the picture's area that a random crop keeps; None: no crop."""
    flip: Literal["horizontal", "vertical", "both"] | None = None
    """Mirrored half of the time: only where a mirrored picture means the same."""
    rand_augment: int | None = Field(default=None, ge=1, le=10)
    """So many operations of RandAugment on each image; None: none."""
    erase: float = Field(default=0.0, ge=0, le=1)
    """Share of images with a rectangle painted over."""
    mixup: float = Field(default=0.0, ge=0, le=1)
    cutmix: float = Field(default=0.0, ge=0, le=1)
    mosaic: float = Field(default=0.0, ge=0, le=1)
    """Four pictures in one, for detection."""


class TrainingConfig(BaseModel):
    """How a model is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    checkpoint: str | FromConfig
    """A hub id, a local folder, or `{from-config: {...}}`."""
    epochs: int = Field(default=5, ge=1)
    batch_size: int = Field(default=32, ge=1)
    """Examples per step over all processes and accumulation: the effective batch."""
    gradient_accumulation: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Parts that each batch is split into, to save memory; the result is the same up to rounding.

    `auto`: one, and twice as many each time that the device runs out of memory; nothing of the run is lost.
    """
    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = FALLBACK
    """`auto`: found by a short run in which it rises until the loss does."""
    optimizer: Literal["adamw", "adam", "nadam", "radam", "sgd", "adafactor", "muon"] = "adamw"
    """`adafactor` keeps the least in memory, and waits for a GPU; `muon` is for the matrices of layers, with
    AdamW for all else."""
    betas: tuple[Share, Share] | None = None
    """How much of their former values the two means of the Adam family keep; None: 0.9 and 0.999."""
    momentum: Share | None = None
    """How much of its former value the mean of `sgd` or `muon` keeps; None: 0.9 or 0.95."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Each layer learns at this times the rate of the one above it; 1: all at the same."""
    head_factor: float = Field(default=1.0, gt=0)
    """The head, what comes after the last layer, learns at this times the learning rate."""
    freeze: Freeze | None = None
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay per step of an average of the weights, which is what is scored and kept; None: no average.

    It rises to this over the first steps, lest the average be what the weights were before any.
    """
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.1, ge=0, le=1)
    """Share of all steps over which the learning rate rises from 0."""
    schedule: Literal["cosine", "linear", "constant", "warmup-stable-decay"] = "cosine"
    max_grad_norm: float | None = Field(default=1.0, gt=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["balanced", "sqrt"] | dict[str, Annotated[float, Field(gt=0)]] | None = None
    """How much each class counts in the loss: by name (1 for those not named); `balanced`: as the inverse of
    its share of the labels; `sqrt`: as the square root of that."""
    focal_gamma: float = Field(default=0.0, ge=0)
    """Focal loss: examples that are right already count less, the more so the higher; 0: all count."""
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """`auto` is bf16 on a GPU that has it, else no mixed precision."""
    seed: int = 0
    early_stopping: EarlyStopping | None = EarlyStopping()
    evaluate_every: int | None = Field(default=None, ge=1)
    """Steps between evaluations on the validation split; by default once an epoch."""
    image_size: int | None = Field(default=None, ge=8)
    """Side in pixels; by default the checkpoint's own."""
    max_length: int | None = Field(default=None, ge=8)
    """Tokens per text; by default the checkpoint's own limit."""
    augment: bool | Augmentation = True
    """`true`: as the kind of task does by default."""
    lora: Lora | None = None
    packing: bool | Literal["auto"] = "auto"
    """Texts of a batch one behind the other without padding; `auto`: where the network gives the same."""
    compile: bool | Literal["auto", "regional"] = "auto"
    """By torch.compile, before the first step; `regional`: the repeated layers alone, in a fraction of the
    time; `auto`: where the run is long enough on a GPU to gain more than compiling costs."""
    gradient_checkpointing: bool = False
    """Compute parts of the forward pass twice, to save memory."""

    @model_validator(mode="after")
    def _has_these_arguments(self) -> TrainingConfig:
        for name, known in (("betas", _ADAM_FAMILY), ("momentum", _WITH_MOMENTUM)):
            if getattr(self, name) is not None and self.optimizer not in known:
                raise ValueError(f"optimizer {self.optimizer} has no {name}; {', '.join(known)} have")
        return self

    @model_validator(mode="after")
    def _stays_as_compiled(self) -> TrainingConfig:
        thaws = self.freeze is not None and self.freeze.thaw_every is not None
        if thaws and self.compile in (True, "regional"):
            raise ValueError(
                "a network whose layers thaw (`freeze.thaw_every`) is another one each time: "
                "use `compile: auto` or false"
            )
        return self

    @model_validator(mode="after")
    def _divides(self) -> TrainingConfig:
        if self.gradient_accumulation != "auto" and self.batch_size % self.gradient_accumulation:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of "
                f"gradient_accumulation {self.gradient_accumulation}"
            )
        return self

    def checkpoint_argument(self) -> str | dict[str, Any]:
        """The checkpoint as `Task.model` takes it."""
        if isinstance(self.checkpoint, str):
            return self.checkpoint
        return {"from-config": self.checkpoint.from_config}

    def model_settings(self) -> dict[str, Any]:
        """What the recipe sets of `Model.settings`."""
        chosen = {
            "image_size": self.image_size,
            "max_length": self.max_length,
            "lora": None if self.lora is None else self.lora.model_dump(),
        }
        return {name: value for name, value in chosen.items() if value is not None}
