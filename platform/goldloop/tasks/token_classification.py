"""`kind: token-classification`: spans of a text, such as the names in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from typing_extensions import override

from goldloop.errors import AnnotationError, ModelError
from goldloop.records import Item, Prediction, content_key
from goldloop.tasks._classes import ClassesConfig, ClassesTask
from goldloop.tasks._losses import CLASS_LOSS_OPTIONS, tag_losses
from goldloop.tasks._matching import counted
from goldloop.tasks._packing import pack_network
from goldloop.tasks._precision_recall import precision_recall
from goldloop.tasks._regions import labels_tag, new_region, region_id, region_value
from goldloop.tasks._spans import Span, misquoted, overlapping, quote, read_span, without_overlaps
from goldloop.tasks._texts import SMALL_ENCODER
from goldloop.tasks._token_models import (
    IGNORED,
    batch_of,
    read_windows,
    some_windows,
    spans_in,
    tag_tokens,
    token_model,
    tokenize,
    tokens_shown,
    torn,
    window_ends,
    windows_shown,
)
from goldloop.tasks.base import PLAIN_LOSS, Batch, ConsensusPolicy, Example, LossOptions, Model, PlaceAnswers

if TYPE_CHECKING:
    import datasets
    import torch
    from numpy.typing import NDArray

    from goldloop.tasks._augmentation import AugmentationOptions

CONTROL = "span"
_KIND = "labels"
_FORMS = (
    "{0} met {1} yesterday.",
    "  \tAt noon {0} \N{GRINNING FACE}\N{FAMILY} called {1}!",
    "First line\r\nsecond: {0}\r\n{1} again",
    "<b>{0}</b> &amp; {1} $text",
    "e\u0301e\u0301 {0}, \u6771\u4eac {1}\n",
    "Nobody is named here at all.",
)
_NAMES = (("Ada", "Lima"), ("Boris Blum", "Rio"), ("\U0001d4b3avier", "New York"))


class TokenClassification(ClassesTask[list[Span]]):
    """Spans of a text: the people and places that a message names.

    Networks find spans that do not overlap. No span is an answer: there is nothing to find.
    """

    class Config(ClassesConfig):
        """What a recipe says under `task:`."""

        overlaps: Literal["refuse", "keep"] = "refuse"
        """What becomes of an answer whose spans share characters: it is refused, or kept as it is. A network
        learns of those that overlap the longest, then the first."""
        confidence: float = Field(default=0.5, ge=0, le=1)
        """What a model is less sure of is not shown to annotators, nor counted by class."""

    config: Config
    modality = "text"
    metric = "f1"
    loss_options = CLASS_LOSS_OPTIONS
    suggested_checkpoint = "sentence-transformers/all-MiniLM-L6-v2"
    small_network = SMALL_ENCODER

    @override
    def label_config(self) -> str:
        # Without the value type a server in secure mode takes the text for an address.
        shown = (
            '  <Text name="text" value="$text" valueType="text" granularity="symbol" saveTextResult="yes"/>'
        )
        return "\n".join(["<View>", *labels_tag("Labels", CONTROL, "text", self.classes), shown, "</View>"])

    @override
    def task_data(self, item: Item, address: str | None) -> dict[str, Any]:
        return {"text": item.text}

    @override
    def parse(self, value: Any, item: Item) -> list[Span]:
        where = f"item {item.key}"
        if not isinstance(value, list | tuple) or not all(isinstance(entry, Mapping) for entry in value):
            raise AnnotationError(
                "spans are given as a list",
                where=where,
                found=repr(value)[:80],
                expected="[{label, start, end, text}]",
            )
        places = [f"{where}, span {number}" for number in range(len(value))]
        spans = [
            read_span(self.known_class(entry.get("label"), place), entry, item.text or "", place)
            for entry, place in zip(value, places, strict=True)
        ]
        return self._canonical(spans, where, places)

    @override
    def rewritten(
        self,
        target: list[Span],
        text: str,
        moved: Callable[[int, int], tuple[int, int]],
        scrub: Callable[[str], str],
    ) -> list[Span]:
        places = {(span["label"], *moved(span["start"], span["end"])): None for span in target}
        spans: list[Span] = [
            {"label": label, "start": start, "end": end, "text": text[start:end]}
            for label, start, end in places
        ]
        where = "a scrubbed text"
        return self._canonical(spans, where, [f"{where}, span {number}" for number in range(len(spans))])

    @override
    def decode(self, results: Sequence[Mapping[str, Any]], item: Item) -> list[Span]:
        where = f"item {item.key}"
        spans, places = [], []
        for region in results:
            place = f"{where}, region {region_id(region)}"
            value = region_value(region, CONTROL, "text", _KIND, place)
            label = self.only_class(value.get(_KIND), place)
            spans.append(read_span(label, value, item.text or "", place))
            places.append(place)
        return self._canonical(spans, where, places)

    @override
    def misfit(self, target: list[Span], item: Item) -> str | None:
        wrong = super().misfit(target, item)
        # `parse` would put right what is given in other units than code points.
        return wrong if wrong is not None else misquoted(target, item.text or "", f"item {item.key}")

    def _canonical(self, spans: list[Span], where: str, places: Sequence[str]) -> list[Span]:
        """Spans in order, each once."""
        order = sorted(range(len(spans)), key=lambda number: self._order(spans[number]))
        ordered = [spans[number] for number in order]
        kept = [
            number for number in range(len(ordered)) if not number or ordered[number] != ordered[number - 1]
        ]
        found = [ordered[number] for number in kept]
        shared = overlapping(found) if self.config.overlaps == "refuse" else None
        if shared is not None:
            one, other = (found[number] for number in shared)
            names = " and ".join(places[order[kept[number]]].removeprefix(f"{where}, ") for number in shared)
            raise AnnotationError(
                "two spans share characters",
                where=f"{where}, {names}",
                found=f"{one['text']!r} at {one['start']} and {other['text']!r} at {other['start']}",
                remedy="Keep one of them, or set `overlaps: keep` under `task:`",
            )
        return found

    def _order(self, span: Span) -> tuple[int, int, int]:
        return span["start"], span["end"], self.class_id(span["label"])

    @override
    def encode(self, target: list[Span], item: Item) -> list[dict[str, Any]]:
        regions = []
        for number, span in enumerate(self._shown(target)):
            self.class_id(span["label"], f"item {item.key}")
            value = {
                "start": span["start"],
                "end": span["end"],
                "text": quote(span["text"]),
                _KIND: [span["label"]],
            }
            fields = {"score": span["score"]} if "score" in span else {}
            regions.append(new_region(item, number, CONTROL, "text", _KIND, value, **fields))
        return regions

    @override
    def features(self) -> datasets.Features:
        import datasets

        place, text = datasets.Value("int64"), datasets.Value("string")
        spans = datasets.List({"label": self.class_features(), "start": place, "end": place, "text": text})
        return datasets.Features({"text": text, "spans": spans})

    @override
    def to_row(self, target: list[Span]) -> dict[str, Any]:
        return {
            "spans": [
                {
                    "label": self.class_id(span["label"]),
                    "start": span["start"],
                    "end": span["end"],
                    "text": span["text"],
                }
                for span in target
            ]
        }

    @override
    def from_row(self, row: Mapping[str, Any]) -> list[Span]:
        return [
            {
                "label": self.class_name(span["label"], row.get("key")),
                "start": span["start"],
                "end": span["end"],
                "text": span["text"],
            }
            for span in row["spans"]
        ]

    @override
    def agreement(self, a: list[Span], b: list[Span]) -> float:
        ours, theirs = self._places(a), self._places(b)
        return 2 * len(ours & theirs) / (len(ours) + len(theirs)) if ours or theirs else 1.0

    def _places(self, spans: Sequence[Span]) -> set[tuple[int, int, str]]:
        return {(span["start"], span["end"], span["label"]) for span in self._shown(spans)}

    @override
    def consensus(self, targets: Sequence[list[Span]], policy: ConsensusPolicy) -> list[Span] | None:
        """The spans that more than half have marked just so; None where all that was marked is disputed."""
        votes: Counter[tuple[int, int, str]] = Counter()
        by_place: dict[tuple[int, int, str], Span] = {}
        for spans in targets:
            for span in spans:
                place = (span["start"], span["end"], span["label"])
                votes[place] += 1
                by_place[place] = span
        need = len(targets) if policy == "unanimous" else len(targets) // 2 + 1
        kept = [by_place[place] for place, count in votes.items() if count >= need]
        seeing_none = sum(not spans for spans in targets)
        if len(kept) < len(votes) and (policy == "unanimous" or not kept) and seeing_none < need:
            return None
        return sorted(kept, key=self._order)

    @override
    def model(
        self,
        checkpoint: str | Path | Mapping[str, Any],
        *,
        texts: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Model:
        return token_model(checkpoint, self.classes, texts, settings)

    @override
    def prepare(self, model: Model, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows with all `input_ids`, their `places`, the text in `code_points`, `tags`; nothing is cut."""
        import numpy

        prepared = []
        for row, (ids, places) in zip(rows, tokenize([row["text"] for row in rows], model), strict=True):
            entry: dict[str, Any] = {
                "input_ids": numpy.array(ids, dtype=numpy.int64),
                "places": places,
                "code_points": numpy.array([ord(character) for character in row["text"]], dtype=numpy.int32),
            }
            if row.get("key") is not None:
                entry["key"] = row["key"]
            if row.get("spans") is not None:
                spans = without_overlaps(row["spans"])
                entry["tags"] = tag_tokens(places, spans)
                entry["torn_spans"] = torn(places, spans)
            prepared.append(entry)
        return prepared

    @override
    def pack(self, model: Model) -> str | None:
        return pack_network(model, "token")

    @override
    def batch(self, rows: Sequence[Mapping[str, Any]], model: Model) -> Batch:
        return batch_of(rows, model)

    @override
    def augment(
        self,
        batch: Batch,
        model: Model,
        generator: torch.Generator,
        options: AugmentationOptions | None = None,
    ) -> Batch:
        """The batch itself; of more windows than fit into memory a random choice, anew in each epoch."""
        return some_windows(batch, generator)

    @override
    def loss(self, outputs: Any, batch: Batch, options: LossOptions = PLAIN_LOSS) -> torch.Tensor:
        losses = tag_losses(outputs.logits, batch.targets, options, IGNORED)
        # A batch may have no token at all: its loss is 0, not the mean of nothing.
        mean: torch.Tensor = losses.sum() / (batch.targets != IGNORED).sum().clamp(min=1)
        return mean

    @override
    def loss_terms(self, model: Model, tokens: NDArray[Any]) -> NDArray[Any]:
        """The loss is a mean over tokens, each as often as windows show it."""
        return tokens_shown(tokens, model)

    @override
    def place_answers(self, model: Model, batch: Batch) -> list[PlaceAnswers]:
        """Tokens; those that begin a span and those that go on with it are of one class."""
        import torch

        answers = []
        for probabilities, row in self.outputs(model, batch):
            by_class = [probabilities[:, :1], probabilities[:, 1:].unflatten(1, (-1, 2)).sum(2)]
            text = "".join(map(chr, row["code_points"]))
            answers.append(
                PlaceAnswers(
                    given=(row["tags"] + 1) // 2,
                    probabilities=torch.cat(by_class, 1).numpy(),
                    names=("nothing", *self.classes),
                    words=[text[start:end] for start, end in row["places"].tolist()],
                )
            )
        return answers

    @override
    def packed_lengths(
        self, model: Model, lengths: Callable[[str], NDArray[Any]]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        tokens = lengths("input_ids")
        windows = windows_shown(tokens, model)
        return tokens_shown(tokens, model) + windows * window_ends(model), windows

    @override
    def outputs(self, model: Model, batch: Batch) -> Any:
        return list(zip(read_windows(model, batch), batch.context["rows"], strict=True))

    @override
    def predict(self, model: Model, outputs: Any) -> list[Prediction[list[Span]]]:
        predictions = []
        for probabilities, row in outputs:
            if not bool(probabilities.isfinite().all()):
                raise ModelError(
                    "the network answers with something other than numbers",
                    found="NaN or infinite logits",
                    remedy="Train again with a lower learning rate or without mixed precision",
                )
            text = "".join(map(chr, row["code_points"]))
            spans = sorted(spans_in(probabilities, row["places"], text, self.classes), key=self._order)
            # As sure as of the token that it is least sure of.
            sure = float(probabilities.max(-1).values.min()) if len(probabilities) else 1.0
            predictions.append(Prediction(target=spans, confidence=min(sure, 1.0)))
        return predictions

    @override
    def tally(self, predicted: list[Span], expected: list[Span]) -> Any:
        """Hits, answers and truth by class, `(3, C)`."""
        import numpy

        counts = numpy.zeros((3, len(self.classes)), dtype=numpy.int64)
        answers, truth = self._places(predicted), self._places(expected)
        for row, places in enumerate((answers & truth, answers, truth)):
            for _, _, label in places:
                counts[row, self.class_id(label)] += 1
        return counts

    @override
    def summarize(self, tallies: Sequence[Any]) -> dict[str, float]:
        """F1, precision and recall over spans that are exactly right, and F1 averaged over the classes.

        As seqeval's strict scheme counts them; all are 1 where nothing is there and nothing was found.
        """
        counts = sum(tallies)
        hits, answers, truth = counts.sum(axis=1).tolist()
        if not answers and not truth:
            return dict.fromkeys(("f1", "precision", "recall", "macro_f1"), 1.0)
        seen = counts[1:].sum(axis=0) > 0
        by_class = 2 * counts[0][seen] / counts[1:].sum(axis=0)[seen]
        overall = precision_recall(hits, answers, truth)
        return {
            **{name: overall[name] for name in ("f1", "precision", "recall")},
            "macro_f1": float(by_class.mean()),
        }

    @override
    def per_class(
        self, predicted: Sequence[list[Span]], expected: Sequence[list[Span]]
    ) -> dict[str, dict[str, float]]:
        counts = sum(self.tally(*pair) for pair in zip(predicted, expected, strict=True))
        by_class = zip(self.classes, counts.T.tolist(), strict=True)
        return {name: precision_recall(*of_class) for name, of_class in by_class}

    @override
    def classes_in(self, target: list[Span]) -> Sequence[str]:
        return [span["label"] for span in target]

    @override
    def describe(self, target: list[Span]) -> str:
        words = [f"{span['text']} ({span['label']})" for span in self._shown(target)]
        text = " ".join(", ".join(words).split())
        return text if 0 < len(text) <= 120 else counted(self.classes_in(self._shown(target)))

    @override
    def marked(self, target: list[Span]) -> Sequence[tuple[int, int, str]]:
        return [(span["start"], span["end"], span["label"]) for span in self._shown(target)]

    def _shown(self, spans: Sequence[Span]) -> list[Span]:
        """What annotators are shown: all that people marked, and what a model is sure enough of."""
        return [span for span in spans if span.get("score", 1.0) >= self.config.confidence]

    @classmethod
    def example_config(cls) -> dict[str, Any]:
        """A `task:` section of a recipe that works."""
        return {"kind": "token-classification", "classes": ["person", "place"]}

    def example_model(self) -> Model:
        """A tiny network with fresh weights, which learns `examples` in a few steps."""
        tiny = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
        texts = [example.item.text or "" for example in self.examples()]
        checkpoint = {"from-config": {"model_type": "bert", "vocab_size": 400, **tiny}}
        return self.model(checkpoint, texts=texts, settings={"max_length": 64})

    @override
    def examples(self) -> list[Example[list[Span]]]:
        """Names in texts whose characters are easily miscounted."""
        return [
            self._example(form, names, f"{number}-{variant}")
            for number, form in enumerate(_FORMS)
            for variant, names in enumerate(_NAMES if "{0}" in form else _NAMES[:1])
        ]

    def _example(self, form: str, names: Sequence[str], place: str) -> Example[list[Span]]:
        text = form.format(*names)
        spans: list[Span] = []
        for number, name in enumerate(names if "{0}" in form else ()):
            start = text.index(name)
            label = self.classes[number % len(self.classes)]
            spans.append({"label": label, "start": start, "end": start + len(name), "text": name})
        key = content_key(text.encode())
        item = Item(
            key=key,
            modality="text",
            uri=f"example:{place}",
            group=key,
            source="0:examples",
            text=text,
            media_type="text/plain",
        )
        return Example(item, sorted(spans, key=self._order))
