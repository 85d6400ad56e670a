"""Type checks of values in an import file: return the value, or raise Malformed with its path."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from conversations.formats.chat import Malformed
from conversations.formats.lines import NOT_AN_OBJECT

MISSING = "Missing."
NOT_TEXT = "Not a string."
NOT_AN_ID = "Must be a non-empty string or an integer."
NOT_A_LIST = "Not a list."
NOT_A_NUMBER = "Not an integer."
NEGATIVE = "Must be 0 or more."
NOT_A_DECIMAL = "Not a number, nor one in a string."
NOT_A_BOOLEAN = "Must be true or false."
NOT_A_TIME = "Not a date and time with an offset, such as 2026-01-31T09:30:00Z."
NOT_SECONDS = "Not a time in seconds since 1970."
NOT_MILLISECONDS = "Not a time in milliseconds since 1970."

# A check: the path of the value in its line ("messages.3.role") and the value.
Check = Callable[[str, object], Any]


def required(at: str, value: object) -> object:
    """`at` is the path of the value in its line ("messages.3.role"), as in all checks."""
    if value is None:
        raise Malformed(at, MISSING)
    return value


def as_text(at: str, value: object) -> str:
    if not isinstance(value, str):
        raise Malformed(at, NOT_TEXT)
    return value


def as_text_or_none(at: str, value: object) -> str | None:
    return None if value is None else as_text(at, value)


def as_id(at: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise Malformed(at, NOT_AN_ID)
    return str(value)


def as_list(at: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise Malformed(at, NOT_A_LIST)
    return value


def as_list_or_none(at: str, value: object) -> list[Any] | None:
    return None if value is None else as_list(at, value)


def as_texts(at: str, value: object) -> list[str]:
    return [as_text(f"{at}.{place}", item) for place, item in enumerate(as_list(at, value))]


def as_object(at: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(at, NOT_AN_OBJECT)
    return value


def as_object_or_none(at: str, value: object) -> dict[str, Any] | None:
    return None if value is None else as_object(at, value)


def as_decimal_or_none(at: str, value: object) -> Decimal | None:
    """A number, or one in a string, which keeps its digits in every JSON reader."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Malformed(at, NOT_A_DECIMAL)
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise Malformed(at, NOT_A_DECIMAL) from None


def as_number_or_none(at: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise Malformed(at, NOT_A_NUMBER)
    return value


def as_number(at: str, value: object) -> int:
    """An integer that is not negative."""
    number = as_number_or_none(at, required(at, value))
    if number is None or number < 0:
        raise Malformed(at, NEGATIVE)
    return number


def as_boolean(at: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise Malformed(at, NOT_A_BOOLEAN)
    return value


def as_time_or_none(at: str, value: object) -> datetime | None:
    """An ISO 8601 time with an offset, converted to UTC."""
    return None if value is None else as_time(at, value)


def as_time(at: str, value: object) -> datetime:
    try:
        time = datetime.fromisoformat(as_text(at, required(at, value)))
        if time.tzinfo is None:
            raise Malformed(at, NOT_A_TIME)
        return time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Malformed(at, NOT_A_TIME) from None


def as_unix_time_or_none(at: str, value: object) -> datetime | None:
    """From seconds since 1970."""
    return _since_1970(at, value, 1, NOT_SECONDS)


def as_unix_ms_or_none(at: str, value: object) -> datetime | None:
    """From milliseconds since 1970, as JavaScript counts."""
    return _since_1970(at, value, 1000, NOT_MILLISECONDS)


def _since_1970(at: str, value: object, units: int, detail: str) -> datetime | None:
    if value is None:
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Malformed(at, detail)
        return datetime.fromtimestamp(value / units if units > 1 else value, UTC)
    except (ValueError, OverflowError, OSError):
        raise Malformed(at, detail) from None
