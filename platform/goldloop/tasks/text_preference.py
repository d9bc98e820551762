"""`kind: text-preference`: which of two answers to a prompt is better.

The first class means that the first answer is better, the second class that the second is; what follows is
for pairs of which neither is, such as `tie`.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from goldloop.records import Item
from goldloop.tasks._text_pairs import ANSWERS, PAIR, pair_item
from goldloop.tasks.base import Example
from goldloop.tasks.text_pairs import TextPairs

_PROMPTS = ("What is the capital?", "Say é 😀 in\r\n\ttwo lines, $prompt", 'Escape <b>"this"</b> & שלום')
_GOOD, _BAD = "A fine answer", "No idea"


class TextPreference(TextPairs):
    """Which of two answers is better; an item's text is a JSON array: prompt, first answer, second answer."""

    class Config(TextPairs.Config):
        """What a recipe says under `task:`."""

        classes: tuple[str, ...] = ("first", "second", "tie")
        """First better, second better, then what else may be said of a pair; in id order."""
        prompt: bool = True
        """Whether items begin with the prompt; without it they are the two answers alone."""

        @property
        @override
        def names(self) -> tuple[str, ...]:
            return ANSWERS if self.prompt else PAIR

    config: Config

    @property
    @override
    def headings(self) -> tuple[str, ...]:
        return ("Prompt", "First answer", "Second answer")[-len(self.config.names) :]

    @classmethod
    @override
    def example_config(cls) -> dict[str, Any]:
        return {"kind": "text-preference", "classes": ["first", "second", "tie"]}

    @override
    def examples(self) -> list[Example[str]]:
        """A good answer first, second, or two alike, to prompts that are easily damaged on the way."""
        return [
            Example(self._item(prompt, answers, number, variant), name)
            for variant, prompt in enumerate(_PROMPTS)
            for number, (name, answers) in enumerate(
                zip(self.classes, ((_GOOD, _BAD), (_BAD, _GOOD), (_GOOD, _GOOD)), strict=False)
            )
        ]

    def _item(self, prompt: str, answers: tuple[str, str], number: int, variant: int) -> Item:
        texts = [f"{answer} {variant}." for answer in answers]
        return pair_item([prompt, *texts][-len(self.config.names) :], f"{number}-{variant}")
