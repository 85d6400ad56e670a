"""Validate text and JSON before they are stored; errors name the invalid value."""

from __future__ import annotations

import math
import re
from typing import Any

import orjson
from django.conf import settings

from conversations.services.errors import InvalidValue

JSON = dict[str, Any] | list[Any] | str | int | float | bool | None

NUL = "The NUL character (U+0000) cannot be stored."
SURROGATE = "A lone surrogate (U+D800 to U+DFFF) cannot be stored."
NOT_FINITE = "NaN and Infinity are not valid JSON numbers."
TOO_BIG = "An integer must fit into 64 bits."
NOT_JSON = "Not a JSON value."
MAX_QUERY_CHARS = 500
EMPTY_QUERY = "The search query may not be empty."
LONG_QUERY = f"Longer than {MAX_QUERY_CHARS} characters."

_unstorable = re.compile("[\x00\ud800-\udfff]")


def check_text(field: str, value: str) -> None:
    """Raise InvalidValue for NUL, which PostgreSQL cannot store, and for lone surrogates, which
    UTF-8 cannot encode."""
    if _is_storable(value):
        return
    if found := _unstorable.search(value):
        nul = found.group() == "\x00"
        raise InvalidValue(
            NUL if nul else SURROGATE,
            field=field,
            code="null_characters_not_allowed" if nul else "surrogate_characters_not_allowed",
        )


def _is_storable(value: str) -> bool:
    """Looking for both with a regular expression takes thirty times as long."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in value


def check_query(text: str) -> None:
    """Raise InvalidValue for a search query that is empty, too long or not storable text."""
    check_text("q", text)
    if len(text) > MAX_QUERY_CHARS:
        raise InvalidValue(LONG_QUERY, field="q", code="max_length")
    if not text.strip():
        raise InvalidValue(EMPTY_QUERY, field="q", code="blank")


def check_json(field: str, value: JSON, *, max_bytes: int | None = None) -> None:
    """Raise InvalidValue for values that jsonb cannot store or that nest deeper than
    CHAT_MAX_JSON_DEPTH.

    `max_bytes` limits the size of the value as JSON text.
    """
    _check_depth(field, value)
    if max_bytes is not None and len(orjson.dumps(value)) > max_bytes:
        raise InvalidValue(
            f"Larger than {max_bytes:,} bytes of JSON.", field=field, code="too_large"
        )


def check_metadata(value: object) -> None:
    """Raise InvalidValue unless it is a JSON object of at most CHAT_MAX_METADATA_BYTES."""
    if not isinstance(value, dict):
        raise InvalidValue("Not an object.", field="metadata", code="not_an_object")
    check_json("metadata", value, max_bytes=settings.CHAT_MAX_METADATA_BYTES)


def check_rating(value: object) -> None:
    if value not in (-1, 1, None):
        raise InvalidValue("A rating is 1 (good), -1 (bad) or null.", field="rating")


def as_stored(value: Any) -> Any:
    """A JSON value normalised for comparison: jsonb returns 1e23 as an integer."""
    if isinstance(value, dict):
        return {name: as_stored(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_stored(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return float(value)
    return value


def _check_depth(field: str, value: JSON) -> None:
    level = [(field, value)]
    for _ in range(settings.CHAT_MAX_JSON_DEPTH + 1):
        level = [inner for name, item in level for inner in _checked_items(name, item)]
        if not level:
            return
    raise InvalidValue(
        f"Nested deeper than {settings.CHAT_MAX_JSON_DEPTH} levels.", field=field, code="too_deep"
    )


def _checked_items(name: str, value: JSON) -> list[tuple[str, JSON]]:
    """Check `value`; returns its items as (path, value)."""
    if isinstance(value, str):
        check_text(name, value)
    elif isinstance(value, dict):
        for key in value:
            check_text(f"{name} (a key)", key)
        return [(f"{name}.{key}", item) for key, item in value.items()]
    elif isinstance(value, list):
        return [(f"{name}.{index}", item) for index, item in enumerate(value)]
    else:
        _check_scalar(name, value)
    return []


def _check_scalar(name: str, value: object) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidValue(NOT_FINITE, field=name, code="not_finite")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise InvalidValue(TOO_BIG, field=name, code="too_big")
    else:
        raise InvalidValue(NOT_JSON, field=name)
