"""Statistics of the dashboard: six statements, each a range scan of an index on created_at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conversations.db.bulk_rows import Row
from conversations.db.replicas import read_connection
from conversations.models import Message, Role
from conversations.models.unstored_turn import UnstoredTurn
from conversations.selectors.usage import figures_by

MAX_LISTED = 5


@dataclass(frozen=True, slots=True)
class Statistics:
    """`days` has a row for each day with messages, `total` is the same over the whole period, and
    `before` over the period of comparison.

    These rows have day, messages, users, answers, failed, good, bad (counts; users are distinct),
    and latency and first_token as [median, p95] in milliseconds or None. `answers` are figures by
    provider, model and status (`selectors.usage`), `unstored` those of turns with `store: false`,
    which all other figures leave out; `slowest` and `failed` are at most MAX_LISTED answers each,
    with the title and the owner of their conversation.
    """

    days: list[Row]
    total: Row
    before: Row
    answers: list[Row]
    unstored: list[Row]
    slowest: list[Row]
    failed: list[Row]


def statistics_since(start: datetime, zone: str, *, before: datetime) -> Statistics:
    """Statistics since `start`, compared with the period from `before` to `start`.

    Days are those of the time zone `zone` (an IANA name).
    """
    values = {"start": start, "before": before, "zone": zone, "max_listed": MAX_LISTED}
    answers = Message.objects.filter(role=Role.ASSISTANT, created_at__gte=start)
    by = ("provider", "model", "status")
    totals = {row["recent"]: row for row in _rows(_TOTALS, values)}
    return Statistics(
        days=_rows(_DAYS, values),
        total=totals.get(True, _NOTHING),
        before=totals.get(False, _NOTHING),
        answers=list(figures_by(answers, by)),
        unstored=list(figures_by(UnstoredTurn.objects.filter(created_at__gte=start), by)),
        slowest=_rows(_SLOWEST, values),
        failed=_rows(_FAILED, values),
    )


def totals_since(start: datetime, owner_id: int | None = None) -> Row:
    """The figures of a row of `Statistics`, without the day, of all owners or of one."""
    values = {"start": start, "owner": owner_id}
    return _rows(_TOTAL if owner_id is None else _TOTAL_OF_OWNER, values)[0]


def _rows(sql: str, values: dict[str, Any]) -> list[Row]:
    with read_connection().cursor() as cursor:
        cursor.execute(sql, values)
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


_COUNTS = ("messages", "users", "answers", "failed", "good", "bad")
_NOTHING: Row = dict.fromkeys(_COUNTS, 0) | {"latency": None, "first_token": None}
_FIGURES = """
        count(*) AS messages,
        count(DISTINCT user_id) AS users,
        count(*) FILTER (WHERE role = 'assistant') AS answers,
        count(*) FILTER (WHERE status = 'failed') AS failed,
        count(*) FILTER (WHERE rating = 1) AS good,
        count(*) FILTER (WHERE rating = -1) AS bad,
        percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY latency_ms) AS latency,
        percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY first_token_ms) AS first_token
"""
_DAYS = f"""
    SELECT (created_at AT TIME ZONE %(zone)s)::date AS day, {_FIGURES}
    FROM conversations_message WHERE created_at >= %(start)s
    GROUP BY day ORDER BY day
"""  # noqa: S608 (no value comes from outside)
_TOTALS = f"""
    SELECT created_at >= %(start)s AS recent, {_FIGURES}
    FROM conversations_message WHERE created_at >= %(before)s
    GROUP BY recent
"""  # noqa: S608 (no value comes from outside)
_TOTAL = f"SELECT {_FIGURES} FROM conversations_message WHERE created_at >= %(start)s"  # noqa: S608
_TOTAL_OF_OWNER = f"{_TOTAL} AND user_id = %(owner)s"
# Conversations and users are joined after the LIMIT.
_WITH_CONVERSATION = """
    SELECT answer.*, conversation.title, owner.username AS owner
    FROM ({answers}) answer
    JOIN conversations_conversation conversation
        ON conversation.user_id = answer.user_id AND conversation.id = answer.conversation_id
    JOIN auth_user owner ON owner.id = conversation.user_id
    ORDER BY {order}
"""
_SLOWEST = _WITH_CONVERSATION.format(
    answers="""
        SELECT user_id, conversation_id, sequence, model, latency_ms, created_at
        FROM conversations_message
        WHERE role = 'assistant' AND latency_ms IS NOT NULL AND created_at >= %(start)s
        ORDER BY latency_ms DESC LIMIT %(max_listed)s
    """,
    order="answer.latency_ms DESC",
)
_FAILED = _WITH_CONVERSATION.format(
    answers="""
        SELECT user_id, conversation_id, sequence, model, status, created_at
        FROM conversations_message
        WHERE status IN ('failed', 'interrupted') AND created_at >= %(start)s
        ORDER BY created_at DESC LIMIT %(max_listed)s
    """,
    order="answer.created_at DESC",
)
