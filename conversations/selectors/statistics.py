"""What went on in the last days: four statements, each bounded by the index of ages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from conversations.db.bulk_rows import Row

LISTED = 5


@dataclass(frozen=True, slots=True)
class Statistics:
    """`days`: a row a day on which anything was said; `total`: the same over all of them.

    Those rows have day, messages, users, good, bad, and latency and first_token as
    [p50, p95] in milliseconds or None. `answers` are rows of provider, model, status, answers,
    tokens_in, tokens_out; `slowest` and `failed` are single answers.
    """

    days: list[Row]
    total: Row
    answers: list[Row]
    slowest: list[Row]
    failed: list[Row]


def statistics_since(start: datetime, zone: str) -> Statistics:
    """Days are those of the time zone with this name."""
    values = {"start": start, "zone": zone, "listed": LISTED}
    per_day = _rows(_DAYS, values)
    return Statistics(
        days=[row for row in per_day if row["day"] is not None],
        total=next(row for row in per_day if row["day"] is None),
        answers=_rows(_ANSWERS, values),
        slowest=_rows(_SLOWEST, values),
        failed=_rows(_FAILED, values),
    )


def _rows(sql: str, values: dict[str, Any]) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


_DAYS = """
    SELECT (message.created_at AT TIME ZONE %(zone)s)::date AS day,
        count(*) AS messages,
        count(DISTINCT conversation.user_id) AS users,
        count(*) FILTER (WHERE rating = 1) AS good,
        count(*) FILTER (WHERE rating = -1) AS bad,
        percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY latency_ms) AS latency,
        percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY first_token_ms) AS first_token
    FROM conversations_message message
    JOIN conversations_conversation conversation ON conversation.id = message.conversation_id
    WHERE message.created_at >= %(start)s
    GROUP BY GROUPING SETS ((1), ())
    ORDER BY 1 NULLS LAST
"""
_ANSWERS = """
    SELECT provider, model, status, count(*) AS answers,
        coalesce(sum(prompt_tokens), 0)::bigint AS tokens_in,
        coalesce(sum(completion_tokens), 0)::bigint AS tokens_out
    FROM conversations_message
    WHERE role = 'assistant' AND created_at >= %(start)s
    GROUP BY provider, model, status
    ORDER BY answers DESC, provider, model, status
"""
_SLOWEST = """
    SELECT conversation_id, sequence, model, latency_ms, created_at
    FROM conversations_message
    WHERE role = 'assistant' AND latency_ms IS NOT NULL AND created_at >= %(start)s
    ORDER BY latency_ms DESC LIMIT %(listed)s
"""
_FAILED = """
    SELECT conversation_id, sequence, model, status, created_at
    FROM conversations_message
    WHERE status IN ('failed', 'interrupted') AND created_at >= %(start)s
    ORDER BY created_at DESC LIMIT %(listed)s
"""
