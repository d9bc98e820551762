"""Tasks whose answer is a text of its own: a summary, a reply, a caption; kept exactly as it was written."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field
from typing_extensions import override

from goldloop.errors import AnnotationError, RecipeError
from goldloop.records import Item, Prediction
from goldloop.tasks._generation import token_loss
from goldloop.tasks._regions import new_region, region_id, region_value
from goldloop.tasks._writing import predictions, write
from goldloop.tasks.base import PLAIN_LOSS, Batch, ConsensusPolicy, LossOptions, Model, Task, TaskConfig

if TYPE_CHECKING:
    import torch

CONTROL = "answer"
"""The name of the TextArea, and of the answer's column in a dataset version."""

_KIND = "textarea"
_MOST_ALIKE = 1 - 1e-9
_FIGURES = ("rouge_l", "rouge_1", "rouge_2")
# Scripts whose words stand without spaces: each of their characters counts as a word.
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


class FreeTextConfig(TaskConfig):
    """What the recipe of such a task says."""

    max_new_tokens: int = Field(default=128, ge=1)
    """The longest answer that is learned and given, in tokens."""


class FreeTextTask(Task[str]):
    """A task whose target is a text; its kinds differ in what they show and what they train."""

    config: FreeTextConfig
    metric = "rouge_l"
    object_name: ClassVar[str]
    """The name of the tag that shows the item."""

    @property
    @override
    def classes(self) -> tuple[str, ...]:
        return ()

    @override
    def with_classes(self, classes: Sequence[str]) -> FreeTextTask:
        if classes:
            raise RecipeError(
                f"{self.config.kind} has no classes",
                where="task",
                found=", ".join(classes),
                remedy="Start a new workspace for another kind of task",
            )
        return self

    def text_area(self) -> str:
        """The TextArea tag of the labelling interface."""
        return (
            f'  <TextArea name="{CONTROL}" toName="{self.object_name}" rows="4" editable="true" '
            'maxSubmissions="1" showSubmitButton="true" placeholder="Write the answer"/>'
        )

    def answer_features(self) -> Any:
        """The column of the answer."""
        import datasets

        return datasets.Value("string")

    @override
    def rewritten(
        self,
        target: str,
        text: str,
        moved: Callable[[int, int], tuple[int, int]],
        scrub: Callable[[str], str],
    ) -> str:
        return scrub(target)

    @override
    def parse(self, value: Any, item: Item) -> str:
        return _text(value, f"item {item.key}")

    @override
    def decode(self, results: Sequence[Mapping[str, Any]], item: Item) -> str:
        where = f"item {item.key}"
        if not results:
            return ""
        regions = ", ".join(region_id(region) for region in results)
        if len(results) > 1:
            raise _several(f"{where}, regions {regions}", f"{len(results)} regions")
        where = f"{where}, region {regions}"
        entries = region_value(results[0], CONTROL, self.object_name, _KIND, where).get("text")
        # Label Studio's editor reads a text that is no list as a list of one.
        entries = [entries] if isinstance(entries, str) else entries
        if not isinstance(entries, list | tuple):
            raise AnnotationError(
                "a written answer has no text",
                where=where,
                found=repr(entries),
                expected='{"text": [TEXT]}',
                remedy="Write the answer again in Label Studio and update the annotation",
            )
        if len(entries) > 1:
            raise _several(where, f"{len(entries)} texts")
        return _text(entries[0], where) if entries else ""

    @override
    def encode(self, target: str, item: Item) -> list[dict[str, Any]]:
        if not target:
            return []
        return [new_region(item, 0, CONTROL, self.object_name, _KIND, {"text": [target]})]

    @override
    def to_row(self, target: str) -> dict[str, Any]:
        return {CONTROL: target}

    @override
    def from_row(self, row: Mapping[str, Any]) -> str:
        return str(row[CONTROL])

    @override
    def agreement(self, a: str, b: str) -> float:
        """ROUGE-L's F; 1 only for texts that are equal to the character."""
        return 1.0 if a == b else min(rouge(a, b)["rouge_l"], _MOST_ALIKE)

    @override
    def consensus(self, targets: Sequence[str], policy: ConsensusPolicy) -> str | None:
        """The text that all annotators wrote, to the character; or more than half, but for their white space.

        Of texts that differ in white space alone it is the one written most often, of these the shortest.
        """
        if not targets:
            return None
        if policy == "unanimous":
            return targets[0] if len(set(targets)) == 1 else None
        same_words, count = Counter(" ".join(text.split()) for text in targets).most_common(1)[0]
        if 2 * count <= len(targets):
            return None
        written = Counter(text for text in targets if " ".join(text.split()) == same_words)
        return min(written, key=lambda text: (-written[text], len(text), text))

    @override
    def training_inputs(self, batch: Batch) -> dict[str, Any]:
        return {**batch.inputs, **batch.targets["inputs"]}

    @override
    def loss(self, outputs: Any, batch: Batch, options: LossOptions = PLAIN_LOSS) -> torch.Tensor:
        targets = batch.targets
        return token_loss(outputs.logits, targets["labels"], options.label_smoothing, targets.get("weights"))

    @override
    def outputs(self, model: Model, batch: Batch) -> Any:
        return write(model, batch.inputs)

    @override
    def predict(self, model: Model, outputs: Any) -> list[Prediction[str]]:
        return predictions(outputs)

    @override
    def tally(self, predicted: str, expected: str) -> Any:
        return {**rouge(predicted, expected), "exact_match": float(predicted == expected)}

    @override
    def summarize(self, tallies: Sequence[Any]) -> dict[str, float]:
        """ROUGE-L, ROUGE-1 and ROUGE-2 (F) and the share of exact answers, each averaged over the items."""
        names = (*_FIGURES, "exact_match")
        return {name: sum(tally[name] for tally in tallies) / len(tallies) for name in names}

    @override
    def describe(self, target: str) -> str:
        """The first words."""
        return super().describe(" ".join(target.split())) or "(no text)"


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise AnnotationError("the answer is no text", where=where, found=repr(value), expected="a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise AnnotationError(
            "the answer is no valid Unicode",
            where=where,
            found=f"half a surrogate pair at character {error.start}",
            remedy="Write the answer again",
        ) from error
    return value


def _several(where: str, found: str) -> AnnotationError:
    return AnnotationError(
        "more than one answer",
        where=where,
        found=found,
        expected="exactly one text",
        remedy="Keep one text in Label Studio and update the annotation",
    )


def rouge(predicted: str, expected: str) -> dict[str, float]:
    """ROUGE-L, ROUGE-1 and ROUGE-2 as F in [0, 1] over `words`; 1 where all words are the same."""
    from rouge_score.rouge_scorer import RougeScorer

    if predicted == expected:
        return dict.fromkeys(_FIGURES, 1.0)
    scored = words(predicted), words(expected)
    # The longest common subsequence is dear, and a text of one word has no pair of words.
    if scored[0] == scored[1]:
        return dict.fromkeys(_FIGURES, float(bool(scored[0])))
    scorer = RougeScorer(["rougeL", "rouge1", "rouge2"], tokenizer=_Words())
    found = scorer.score(expected, predicted)
    names = zip(_FIGURES, ("rougeL", "rouge1", "rouge2"), strict=True)
    return {name: float(found[theirs].fmeasure) for name, theirs in names}


class _Words:
    """`words`, as the rouge-score package asks for them; its own know the letters of English only."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def words(text: str) -> list[str]:
    """The words of a text in any script, in lower case; of scripts without spaces, the characters."""
    found: list[str] = []
    open_word = False
    for character in unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()):
        group = unicodedata.category(character)[0]
        if group not in "LMN" and character != "_":
            open_word = False
        elif open_word and (group == "M" or not (_unspaced(character) or _unspaced(found[-1]))):
            found[-1] += character
        else:
            found.append(character)
            open_word = True
    return found


def _unspaced(word: str) -> bool:
    return any(first <= ord(word[0]) <= last for first, last in _UNSPACED)
