"""Checks of the rows: abandoned answers, the feed of changes, the kept numbers of conversations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from conversations.db.owners import is_distributed
from conversations.management.doctor.finding import Finding, ok, problem, warning
from conversations.models import Message, Status
from conversations.selectors.database_figures import MAX_PENDING, read_figures

# The web server ends abandoned answers and tends the feed within a minute.
LONG_PAST = timedelta(minutes=10)
SAMPLED_OWNERS = 100
SHOWN_OWNERS = 10

_DIFFERENT = """
    SELECT owner.user_id, owner.kept, coalesce(counted.number, 0)
    FROM ({owners}) owner
    LEFT JOIN LATERAL (
        SELECT count(*) AS number FROM conversations_conversation conversation
        WHERE conversation.user_id = owner.user_id
    ) counted ON true
    WHERE owner.kept <> coalesce(counted.number, 0) ORDER BY owner.user_id
"""
_SAMPLE = """
    SELECT user_id, sum(number) AS kept FROM conversations_conversationcount
    GROUP BY user_id ORDER BY random() LIMIT %s
"""
_ALL_DIFFERENT = """
    SELECT user_id, coalesce(kept.number, 0), coalesce(counted.number, 0)
    FROM (SELECT user_id, sum(number) AS number FROM conversations_conversationcount
        GROUP BY user_id) kept
    FULL JOIN (SELECT user_id, count(*) AS number FROM conversations_conversation
        GROUP BY user_id) counted USING (user_id)
    WHERE coalesce(kept.number, 0) <> coalesce(counted.number, 0) ORDER BY user_id
"""
RECOUNT = (
    "In one transaction: LOCK TABLE conversations_conversation IN SHARE MODE; then DELETE the rows "
    "of conversations_conversationcount of these owners and INSERT one for each with the number of "
    "their conversations. Then find out who has written past the triggers."
)


def check_answers() -> Iterator[Finding]:
    stale = timedelta(seconds=settings.CHAT_TURN_STALE_SECONDS) + LONG_PAST
    rows = Message.objects.filter(status=Status.STREAMING, updated_at__lt=Now() - stale)
    if number := rows.order_by().count():
        yield warning(
            "answers",
            f"{number:,} are `streaming` that nobody has written for {LONG_PAST}",
            "Run manage.py reap_interrupted, and from cron where no web server runs.",
        )
    else:
        yield ok("answers", "none is left of a process that died")


def check_changes() -> Iterator[Finding]:
    changes = read_figures().changes
    more = "at least " if changes["pending"] >= MAX_PENDING else ""
    text = f"{more}{changes['pending']:,} changes have no position yet"
    if changes["pending_age"] > LONG_PAST.total_seconds():
        yield warning(
            "feed of changes",
            f"{text}, the oldest for {timedelta(seconds=round(changes['pending_age']))}",
            "The web server gives positions every 20 seconds: see that it runs, and its log.",
        )
    else:
        yield ok("feed of changes", text)


def check_counts(*, deep: bool) -> Iterator[Finding]:
    """Whether the kept numbers of conversations are those of the rows, in one snapshot."""
    different = _different(deep=deep)
    which = "of all owners" if deep else f"of {SAMPLED_OWNERS} owners (--deep: of all)"
    if not different:
        yield ok("counts", f"the kept numbers of conversations are right, {which}")
        return
    shown = ", ".join(
        f"{owner}: {kept} kept, {counted} counted"
        for owner, kept, counted in different[:SHOWN_OWNERS]
    )
    yield problem(
        "counts", f"{len(different):,} are wrong {which}, by the key of the owner: {shown}", RECOUNT
    )


def _different(*, deep: bool) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        if deep or is_distributed():
            cursor.execute(_ALL_DIFFERENT)
        else:
            cursor.execute(_DIFFERENT.format(owners=_SAMPLE), [SAMPLED_OWNERS])
        return list(cursor.fetchall())
