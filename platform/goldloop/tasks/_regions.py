"""Label Studio's results: the parts that the results of every control tag have in common."""

from __future__ import annotations

import colorsys
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from goldloop.errors import AnnotationError
from goldloop.records import Item

_VARIABLE = re.compile(r"\$(?=[\w\[\].{}])")
_WORD_JOINER = "\u2060"
_REMEDY = "Annotate the task again with this recipe's labelling interface"


def new_region(
    item: Item,
    number: int,
    from_name: str,
    to_name: str,
    kind: str,
    value: Mapping[str, Any],
    **fields: Any,
) -> dict[str, Any]:
    """A region of a result; the same arguments give the same id.

    Args:
        item: what it is about.
        number: its position in the result.
        from_name: the control tag's name.
        to_name: the object tag's name.
        kind: the control's type, such as `rectanglelabels`.
        value: what the control says.
        fields: further fields of the region, such as `score` or `parentID`.
    """
    text = json.dumps([item.key, number, from_name, value], sort_keys=True)
    return {
        "id": hashlib.sha256(text.encode()).hexdigest()[:10],
        "from_name": from_name,
        "to_name": to_name,
        "type": kind,
        "value": dict(value),
        **fields,
    }


def region_value(region: Any, from_name: str, to_name: str, kind: str, where: str) -> Mapping[str, Any]:
    """The value of a region, once it is sure that the region is of this control.

    Raises:
        AnnotationError: it is no region, or another control's.
    """
    if not isinstance(region, Mapping):
        raise AnnotationError("a region is not an object", where=where, found=repr(region), remedy=_REMEDY)
    for field, expected in (("from_name", from_name), ("to_name", to_name), ("type", kind)):
        if region.get(field) != expected:
            raise AnnotationError(
                f"a region has another `{field}` than the labelling interface",
                where=where,
                found=repr(region.get(field)),
                expected=repr(expected),
                remedy=_REMEDY,
            )
    value = region.get("value")
    if not isinstance(value, Mapping):
        raise AnnotationError(
            "a region has no value", where=where, found=repr(value), expected="an object", remedy=_REMEDY
        )
    return value


def region_id(region: Any) -> str:
    """How an error names a region."""
    return str(region.get("id", "without id")) if isinstance(region, Mapping) else "without id"


def labels_tag(
    tag: str, name: str, to_name: str, classes: Sequence[str], attributes: Mapping[str, str] | None = None
) -> list[str]:
    """The lines of a tag whose regions have a class, each class in a colour of its own.

    Args:
        tag: such as `RectangleLabels`.
        name: the control's.
        to_name: of the tag that shows the item.
        classes: names in id order.
        attributes: further ones of the tag.
    """
    more = "".join(f' {attribute}="{value}"' for attribute, value in (attributes or {}).items())
    labels = [
        f'    <Label {class_value(label)} background="{colour(number)}"/>'
        for number, label in enumerate(classes)
    ]
    return [f'  <{tag} name="{name}" toName="{to_name}"{more}>', *labels, f"  </{tag}>"]


def colour(number: int) -> str:
    """The colour of a class by its id, as `#rrggbb`; those of neighbouring ids differ most."""
    # Steps of the golden ratio never come back to a hue.
    value = (0.95, 0.7, 0.5)[number % 3]
    parts = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.85, value)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def shown_text(text: str) -> str:
    """A text as an attribute that Label Studio shows as it stands."""
    # Label Studio would put a field of the task in place of `$5` in a value.
    return _VARIABLE.sub(f"${_WORD_JOINER}", _quoted(text))


def class_value(name: str) -> str:
    """The attributes of a Choice or Label tag that give it a class's name."""
    quoted, shown = _quoted(name), shown_text(name)
    # An alias is taken to the character, variables or not.
    return f'value="{shown}"' if shown == quoted else f'value="{shown}" alias="{quoted}"'


def _quoted(text: str) -> str:
    return escape(text, {'"': "&quot;"})
