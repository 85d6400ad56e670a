"""What messages cost: counts, tokens and money, by whatever they are grouped.

The API's usage, the page of an owner and the dashboard take their figures from `figures_by`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count, Max, Min, Q, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from conversations.db.bulk_rows import Row
from conversations.models.conversation import Conversation
from conversations.models.message import Message, MessageQuerySet, Role

# Tokens are summed over the newest this many conversations of an owner.
MAX_CONVERSATIONS = 500

_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
COUNTS = ("messages", "turns", *_TOKENS)
# What usage is grouped by, and the columns of it.
GROUPS = {
    "day": ("day",),
    "user": ("user_id",),
    "model": ("provider", "model"),
}


def figures_by(messages: MessageQuerySet, columns: Sequence[str]) -> QuerySet[Any, Row]:
    """A row for each combination of the columns, with COUNTS (0 where nothing is known) and `cost`
    (None where no message has one). `turns` are the messages of users."""
    # First `values`, so that sums may have the names of columns.
    rows: QuerySet[Any, Row] = messages.order_by().values(*columns)
    figures: QuerySet[Any, Row] = rows.annotate(
        messages=Count("id"),
        turns=Count("id", filter=Q(role=Role.USER)),
        **{name: Sum(name, default=0) for name in _TOKENS},
        cost=Sum("cost"),
    )
    return figures


def usage_between(
    messages: MessageQuerySet, after: datetime, before: datetime, groups: Sequence[str], limit: int
) -> list[Row]:
    """At most `limit` rows of figures of the messages created in this time, in order of `groups`
    (names in GROUPS), of which a row has `day` (of the server's time zone), `user` (the owner,
    loaded), `provider` and `model`. Two SQL queries at most.

    Figures of turns that store no messages are to be added here.
    """
    columns = [column for group in groups for column in GROUPS[group]]
    within = messages.filter(created_at__gte=after, created_at__lt=before)
    if "day" in groups:
        day = TruncDate("created_at", tzinfo=timezone.get_default_timezone())
        within = within.annotate(day=day)
    rows = list(figures_by(within, columns).order_by(*columns)[:limit])
    if "user" in groups:
        users = User.objects.only("username").in_bulk({row["user_id"] for row in rows})
        # Without those of a user who was erased this moment.
        return [row | {"user": users[row["user_id"]]} for row in rows if row["user_id"] in users]
    return rows


def total_of(rows: Sequence[Row]) -> Row:
    """The figures of all rows together."""
    costs = [row["cost"] for row in rows if row["cost"] is not None]
    total: Row = {name: sum(row[name] for row in rows) for name in COUNTS}
    return total | {"cost": sum(costs, Decimal(0)) if costs else None}


def usage_of(owner_id: int) -> Row:
    """`conversations`, `messages`, `held` (on legal hold), `archived` (counts), `first_at` and
    `last_at` (None without conversations), and `models`.

    `models` has figures of answers by provider and model, most answers first, at most 20. They
    cover only the newest MAX_CONVERSATIONS where `bounded`. Two SQL queries.
    """
    conversations = Conversation.objects.owned_by(owner_id)
    totals = conversations.aggregate(
        conversations=Count("pk"),
        messages=Sum("message_count", default=0),
        held=Count("pk", filter=Q(legal_hold=True)),
        archived=Count("pk", filter=Q(archived_at__isnull=False)),
        first_at=Min("created_at"),
        last_at=Max("updated_at"),
    )
    newest = conversations.newest_first().values("pk")[:MAX_CONVERSATIONS]
    answers = Message.objects.filter(
        user_id=owner_id, conversation_id__in=newest, role=Role.ASSISTANT
    )
    models = figures_by(answers, ("provider", "model"))
    return totals | {
        "models": list(models.order_by("-messages")[:20]),
        "bounded": totals["conversations"] > MAX_CONVERSATIONS,
    }
