"""What sources hold, as JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import date, time
from typing import Any


def json_value(value: Any) -> Any:
    """What a row holds as the JSON value that says it best: dates in ISO 8601, decimals as they are written.

    What is no number (NaN, infinite) is None; bytes are base64.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): json_value(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(part) for part in value]
    if isinstance(value, date | time):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
