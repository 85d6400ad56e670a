"""The audit log by visits: a read of a conversation and its paging, as one row.

AccessRecords are evidence: each one is written and kept. They are folded only where the admin
lists them; the CSV export and the API have every record.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Field, JSONField, QuerySet, UUIDField
from django.db.models.expressions import RawSQL
from django.utils import timezone

from conversations.models import AccessRecord

# Reads with less time than this between one and the next are one visit.
GAP = timedelta(minutes=15)
# The most records of one visit that are counted.
MOST_COUNTED = 1_000

# Besides, a visit ends at midnight, so that a filter by day never hides a part of one.
_SAME_VISITOR = """
    other.action = 'read' AND record.action = 'read'
    AND other.conversation_id = record.conversation_id
    AND other.staff_id = record.staff_id
    AND other.reason = record.reason
    AND other.address IS NOT DISTINCT FROM record.address
    AND date_trunc('day', other.created_at, %s) = date_trunc('day', record.created_at, %s)
"""
# A scalar subquery, since the planner would turn NOT EXISTS into a join with the whole table.
_NEXT_READ = f"""
    SELECT other.id FROM conversations_accessrecord other
    WHERE {_SAME_VISITOR}
        AND (other.created_at, other.id) > (record.created_at, record.id)
        AND other.created_at < record.created_at + %s
    LIMIT 1
"""  # noqa: S608 (no value comes from outside)
_VISIT = f"""
    SELECT jsonb_build_object(
        'reads', count(*),
        'since', min(created_at),
        'first', min((detail->>'first')::int) FILTER (WHERE detail ? 'first'),
        'last', max((detail->>'last')::int) FILTER (WHERE detail ? 'last')
    )
    FROM (
        SELECT created_at, detail, count(*) FILTER (WHERE is_gap) OVER newest_first AS gaps
        FROM (
            SELECT other.id, other.created_at, other.detail,
                lag(other.created_at) OVER newest_first - other.created_at >= %s AS is_gap
            FROM conversations_accessrecord other
            WHERE {_SAME_VISITOR}
                AND (other.created_at, other.id) <= (record.created_at, record.id)
            WINDOW newest_first AS (ORDER BY other.created_at DESC, other.id DESC)
            ORDER BY other.created_at DESC, other.id DESC
            LIMIT {MOST_COUNTED}
        ) AS earlier
        WINDOW newest_first AS (ORDER BY created_at DESC, id DESC)
    ) AS chained
    WHERE gaps = 0
"""  # noqa: S608 (no value comes from outside)


def visits_of(records: QuerySet[AccessRecord]) -> QuerySet[AccessRecord]:
    """The records without those that a later one of the same visit stands for.

    Each has `visit`: `reads` (how many records it stands for; 0 where it is not a read of one
    conversation), `since` (the time of the first, ISO 8601), and `first` and `last` (the sequences
    of the messages shown, or None). Costs two look-ups by index for each record that is listed.
    """
    zone = timezone.get_current_timezone_name()
    newest = records.alias(next_read=_of_record(_NEXT_READ, [zone, zone, GAP], UUIDField())).filter(
        next_read__isnull=True
    )
    return newest.annotate(visit=_of_record(_VISIT, [GAP, zone, zone], JSONField()))


def _of_record(sql: str, values: list[object], kind: Field[Any, Any]) -> RawSQL:
    """The subquery for the record of the surrounding query."""
    correlated = sql.replace("record.", f'"{AccessRecord._meta.db_table}".')
    return RawSQL(correlated, values, output_field=kind)  # noqa: S611 (a constant)
