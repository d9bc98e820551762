"""Expressions of `filter:` and `group:`: Python's own notation over the fields of an entry, by simpleeval.

    year >= 2020 and language in ["en", "de"]      matches(name, "^p[0-9]+_")      name.split("_")[0]

Nothing is executed: an expression is parsed and walked. It has the fields' names, `fields["a name with
spaces"]`, operators, lists, the methods of texts and dates, and the functions below. What an entry does not
have is None.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from functools import cached_property
from typing import Any

from goldloop.errors import ItemError

Fields = Mapping[str, Any]
"""What a source says of an entry before its content is read."""

_FUNCTIONS = {
    "len": len,
    "int": int,
    "float": float,
    "str": str,
    "abs": abs,
    "min": min,
    "max": max,
    "matches": lambda text, pattern: text is not None and re.search(pattern, text) is not None,
}
_WITH_METHODS = (str, date, datetime, time)
_FIELDS = "fields"


class Expression:
    """A parsed expression; for one thread at a time.

    Raises:
        ValueError: it is none.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._parsed = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            raise ValueError(f"this is no expression: {reason}") from error
        called = {node.func.id for node in self._nodes(ast.Call) if isinstance(node.func, ast.Name)}
        unknown = sorted(called - set(_FUNCTIONS))
        if unknown:
            raise ValueError(f"there is no function {unknown[0]!r}, only {', '.join(_FUNCTIONS)}")
        self.names = frozenset(node.id for node in self._nodes(ast.Name)) - called - self._own_names()

    def __call__(self, fields: Fields) -> Any:
        """Its value for an entry.

        Raises:
            ItemError: it has none, such as a comparison of a number with nothing.
        """
        from simpleeval import InvalidExpression

        evaluator = self._evaluator
        evaluator.names = lambda node: fields if node.id == _FIELDS else fields.get(node.id)
        try:
            return evaluator.eval(self.text, previously_parsed=self._parsed)
        except (InvalidExpression, TypeError, ValueError, ArithmeticError, LookupError, re.error) as error:
            raise ItemError(
                "the expression has no value here", found=f"{type(error).__name__}: {error}"
            ) from error

    @cached_property
    def _evaluator(self) -> Any:
        return _walker()

    def _nodes(self, kind: type[Any]) -> list[Any]:
        return [node for node in ast.walk(self._parsed) if isinstance(node, kind)]

    def _own_names(self) -> set[str]:
        """Names that are no fields: of comprehensions, and of the mapping of all fields."""
        stored = {node.id for node in self._nodes(ast.Name) if isinstance(node.ctx, ast.Store)}
        return {*stored, _FIELDS}


def _walker() -> Any:
    """What walks an expression; it holds the names of the entry that it is at."""
    from simpleeval import EvalWithCompoundTypes, FeatureNotAvailable

    class _Evaluator(EvalWithCompoundTypes):  # type: ignore[misc]
        def _eval_attribute(self, node: ast.Attribute) -> Any:
            if not isinstance(self._eval(node.value), _WITH_METHODS):
                raise FeatureNotAvailable(f"only texts and dates have methods, such as .{node.attr}")
            return super()._eval_attribute(node)

    return _Evaluator(functions=dict(_FUNCTIONS))


def checked(text: str) -> str:
    """The text of an expression that can be parsed.

    Raises:
        ValueError: it cannot.
    """
    Expression(text)
    return text
