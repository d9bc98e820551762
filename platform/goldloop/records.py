"""The values that flow round the loop; all are frozen.

    Item -> (task in Label Studio) -> Annotation -> Label -> (dataset version, run) -> Prediction

`Target` is whatever a task type calls an answer: a class name for classification, a tuple of boxes for
detection. It is plain JSON-able data with class *names*; ids appear only inside dataset versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")

Modality = Literal["image", "text"]
Provenance = Literal["human", "human-over-prediction", "imported", "model"]


LabelUse = Literal["imported", "annotation", "truth"]
IMPORTED = "imported"
"""The annotator of an annotation that came with an import and that nobody has changed since."""


def content_key(content: bytes) -> str:
    """The identity of some content: its SHA-256 in hex (64 characters).

    Of an image the bytes of the file count, of a text its UTF-8 bytes without a byte-order mark.
    """
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One image or text, identified by its content and found at one address or several.

    Attributes:
        key: `content_key` of the content.
        modality: what the content is.
        uri: where it was found; stable, never a signed address. A row of a table is `URL#row-id`.
        group: items of one group are always in one split (one patient, one customer); by default the key.
        source: which source of the recipe it came from, by position and kind, such as `0:files`.
        metadata: what else the source says about it; JSON values.
        text: the content of a text item, to the character; None for an image.
        media_type: of an image, the type found in its bytes, such as `image/png`; `text/plain` for text.
        width, height: of an image, in pixels, upright (after EXIF orientation); None for a text.
        label: the target that the source itself knows, in the task's own form; None where it knows none.
        label_use: what that label is for: `imported` enters versions as it is; `annotation` becomes an
            annotation in Label Studio, where people correct it; `truth` is hidden from annotators and
            models, and serves simulated annotators and control items.
        content: the bytes of an image while it flows from a connector into the workspace, None after.
    """

    key: str
    modality: Modality
    uri: str
    group: str
    source: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None
    media_type: str
    width: int | None = None
    height: int | None = None
    label: Any = None
    label_use: LabelUse | None = None
    content: bytes | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Answers:
    """What annotators said of an item elsewhere, each in Label Studio's form: a label not settled yet."""

    results: tuple[tuple[Mapping[str, Any], ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """One address of a source whose content cannot be used, and why."""

    uri: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What one annotator did with one task, as Label Studio tells it.

    Attributes:
        id: Label Studio's annotation id.
        task_id: Label Studio's task id.
        key: the content key that the task carried when it came back.
        annotator: a pseudonym, stable in one workspace; or `IMPORTED`.
        results: Label Studio's `result` list.
        cancelled: the annotator skipped the task: no answer. Empty `results` without it are an answer.
        created_at, updated_at: ISO 8601, UTC.
        lead_time: seconds spent, where the server knows.
        shown_model: the model version of the pre-annotation that the annotator was shown, if any.
        ground_truth: somebody has marked it as the known answer in Label Studio.
    """

    id: int
    task_id: int
    key: str
    annotator: str
    results: tuple[Mapping[str, Any], ...]
    cancelled: bool
    created_at: str
    updated_at: str
    lead_time: float | None = None
    shown_model: str | None = None
    ground_truth: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Generic[T]):
    """What a team holds to be true of one item.

    Attributes:
        key: the item's.
        target: the answer, in the task's own form.
        annotators: pseudonyms of those who gave it, sorted; empty if imported.
        agreement: mean pairwise agreement in [0, 1]; None with fewer than two annotators.
        provenance: how it came to be.
        shown_models: model versions whose pre-annotations were shown to an annotator, sorted.
        confidence: probability in [0, 1] that the answer is true, where the consensus tells one.
    """

    key: str
    target: T
    annotators: tuple[str, ...]
    agreement: float | None
    provenance: Provenance
    shown_models: tuple[str, ...] = ()
    confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopened:
    """An item that was sent back to annotators since its label was in doubt.

    Attributes:
        key: the item's.
        reason: why, as annotators read it.
        given: the label's target when it was sent.
        known: id and `updated_at` of the annotations that were there already: what is none of them decides.
        shown_model: whose suggestion the reason tells; None where it tells none.
    """

    key: str
    reason: str
    given: Any
    known: frozenset[tuple[int, str]]
    shown_model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """What came of an item that was sent back.

    Attributes:
        key: the item's.
        reason: why it was sent.
        outcome: what a later answer did to the label: nothing (`confirmed`), another target (`changed`); no
            answer yet, or a skip (`open`), answers that differ or cannot be read (`disputed`).
        before: the target that it had.
        after: the target that it has; None where it has no label.
        reviewers: pseudonyms of those who answered since, sorted.
    """

    key: str
    reason: str
    outcome: Literal["confirmed", "changed", "open", "disputed"]
    before: Any
    after: Any
    reviewers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction(Generic[T]):
    """What a model says of one item.

    Attributes:
        target: the answer, in the task's own form.
        confidence: in [0, 1], higher is surer; what selection and pre-annotation order by.
        scores: probability of each class name where the task has them.
    """

    target: T
    confidence: float
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What a model said of an item before people did.

    Attributes:
        key: the item's.
        model: the model's version.
        target: in the task's own form.
        shown: whether annotators could see it.
        made_at: when (ISO 8601, UTC): what was annotated before has not been influenced.
    """

    key: str
    model: str
    target: Any
    shown: bool
    made_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The one line that the ledger keeps of one subject at one stage."""

    subject: str
    outcome: str
    reason: str = ""
