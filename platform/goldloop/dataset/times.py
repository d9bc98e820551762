"""Times as sources write them, in one form that sorts as a text."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

_MILLISECONDS_FROM = 1e11


def parse_time(value: Any) -> str | None:
    """A time in UTC, ISO 8601 to the microsecond; None for what is none.

    Taken are ISO 8601 (a day is its first moment; without a zone it is UTC), the form of EXIF
    (`2024:03:01 12:30:00`), and seconds or milliseconds since 1970.
    """
    try:
        found = _moment(value)
    except (ValueError, OverflowError, OSError):
        return None
    return None if found is None else found.astimezone(UTC).isoformat(timespec="microseconds")


def _moment(value: Any) -> datetime | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, int | float):
        seconds = value / 1000 if abs(value) >= _MILLISECONDS_FROM else value
        return datetime.fromtimestamp(seconds, UTC)
    if not isinstance(value, str):
        return None
    text = value.strip()
    if text[4:5] == ":" and text[7:8] == ":":
        text = f"{text[:4]}-{text[5:7]}-{text[8:]}"
    if text.replace(".", "", 1).isdecimal() and len(text) != 8:
        return _moment(float(text))
    return _moment(datetime.fromisoformat(text))
