"""Times in query parameters."""

from __future__ import annotations

from datetime import UTC, datetime

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from rest_framework.exceptions import ErrorDetail, ValidationError

BAD_TIME = "A date, or a date and time, in ISO 8601."
TIME_SCHEMA = {"anyOf": [{"type": "string", "format": kind} for kind in ("date-time", "date")]}


def moment_of(text: str) -> datetime:
    """The time, in UTC, of an ISO 8601 date or date and time; ValueError for anything else.

    Without an offset it is a time in the server's zone, a date alone its first moment.
    """
    moment = parse_datetime(text)
    if moment is None:
        day = parse_date(text)
        if day is None:
            raise ValueError(BAD_TIME)
        moment = datetime(day.year, day.month, day.day)  # noqa: DTZ001 (made aware below)
    try:
        aware = moment if timezone.is_aware(moment) else timezone.make_aware(moment)
        return aware.astimezone(UTC)
    except OverflowError:  # before year 1 or after 9999 in UTC
        raise ValueError(BAD_TIME) from None


def time_of(text: str | None, field: str) -> datetime | None:
    """The time in a query parameter; ValidationError names it."""
    if text is None:
        return None
    try:
        return moment_of(text)
    except ValueError:
        raise ValidationError({field: [ErrorDetail(BAD_TIME, "invalid")]}) from None
