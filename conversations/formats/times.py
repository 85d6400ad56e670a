"""Times in files that are in UTC unless they say otherwise."""

from __future__ import annotations

from datetime import UTC, datetime

from conversations.formats.chat import Malformed
from conversations.formats.checks import NOT_A_TIME

_MILLISECONDS_FROM = 10**11  # as seconds, the year 5138


def utc_time(at: str, value: object) -> datetime | None:
    """From ISO 8601 with or without an offset, or from milliseconds or seconds since 1970; None for
    None or "". Raises Malformed."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / 1000 if abs(value) > _MILLISECONDS_FROM else value
            return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise Malformed(at, NOT_A_TIME)
