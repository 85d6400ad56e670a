"""Answers whose process ended before they were complete: how they are found, stored and read.

A running answer's `updated_at` moves about once a second: it is the heartbeat of the process that
runs it. One that has not moved for CHAT_TURN_STALE_SECONDS is `interrupted` for every reader, also
before its row says so: `as_read` turns a row into what a reader is told, `reads_as` is the same
rule as a condition. Heartbeats are written and judged by the clock of the database, since those of
several web machines differ.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from conversations.models.message import Message, Status

INTERRUPTED = "The process that ran this turn ended before the answer was complete."
INTERRUPTED_COLUMNS = {
    "status": Status.INTERRUPTED.value,
    "finish_reason": "interrupted",
    "error": INTERRUPTED,
}

RowOrMessage = TypeVar("RowOrMessage", dict[str, Any], Message)


def oldest_sign_of_life() -> Combinable:
    """Running answers that last moved before this moment, an SQL expression, are interrupted."""
    return Now() - stale_after()


def as_read(message: RowOrMessage) -> RowOrMessage:
    """The same row (with `status` and `updated_at`) or object, changed to what a reader is told.

    To be called as soon as the row is read. Asks the database for its time if the answer runs.
    """
    if isinstance(message, Message):
        if _is_interrupted(message.status, message.updated_at):
            for name, value in INTERRUPTED_COLUMNS.items():
                setattr(message, name, value)
    elif _is_interrupted(message["status"], message["updated_at"]):
        message.update(INTERRUPTED_COLUMNS)
    return message


def _is_interrupted(status: str, updated_at: datetime) -> bool:
    return status == Status.STREAMING and updated_at < _database_time() - stale_after()


def stale_after() -> timedelta:
    """After so long without a sign of life."""
    return timedelta(seconds=settings.CHAT_TURN_STALE_SECONDS)


def _database_time() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def reads_as(statuses: Collection[str]) -> Q:
    """Messages that readers see with one of these statuses."""
    stored = [status for status in statuses if status != Status.STREAMING]
    condition = Q(status__in=stored) if len(stored) != 1 else Q(status=stored[0])
    if Status.STREAMING in statuses:
        condition |= Q(status=Status.STREAMING, updated_at__gte=oldest_sign_of_life())
    if Status.INTERRUPTED in statuses:
        condition |= Q(status=Status.STREAMING, updated_at__lt=oldest_sign_of_life())
    return condition
