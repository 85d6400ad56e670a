"""Values as JSON text, as all formats of this package write them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from conversations.formats.message import cost_as_text


class JsonText(str):
    """A JSON value as the database writes it. To parse it and write it again would take several
    times as long, and change numbers that a float does not hold."""

    __slots__ = ()


def as_json(value: Any) -> str:
    """On one line, with `, ` and `: ` as separators. Times are ISO 8601, amounts texts."""
    if isinstance(value, JsonText):
        return value
    return json.dumps(value, ensure_ascii=False, default=_as_text)


def as_object(values: Mapping[str, Any]) -> str:
    """A JSON object of these values, of which each may be a JsonText."""
    return "{" + ", ".join(f'"{name}": {as_json(value)}' for name, value in values.items()) + "}"


def as_array(texts: Iterable[str]) -> JsonText:
    """A JSON array of what these texts are."""
    return JsonText(f"[{', '.join(texts)}]")


def _as_text(value: datetime | uuid.UUID | Decimal) -> str:
    if isinstance(value, Decimal):
        return cost_as_text(value)
    return str(value) if isinstance(value, uuid.UUID) else value.isoformat()
