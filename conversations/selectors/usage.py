"""What messages cost: counts, tokens and money, by whatever they are grouped.

The API's usage, the page of an owner and the dashboard take their figures from `figures_by`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count, Max, Min, Q, QuerySet, Sum, Value
from django.db.models.functions import TruncDate
from django.utils import timezone

from conversations.db.bulk_rows import Row
from conversations.models.conversation import Conversation
from conversations.models.message import Message, Role
from conversations.models.unstored_turn import UnstoredTurn

# Tokens are summed over the newest this many conversations of an owner.
MAX_CONVERSATIONS = 500
MAX_MODELS = 20

_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
COUNTS = ("messages", "turns", *_TOKENS)
# What usage is grouped by, and the columns of it.
GROUPS = {
    "day": ("day",),
    "user": ("user_id",),
    "model": ("provider", "model"),
}


def figures_by(counted: QuerySet[Any], columns: Sequence[str]) -> QuerySet[Any, Row]:
    """A row for each combination of the columns, with COUNTS (0 where nothing is known) and `cost`
    (None where nothing has one). `counted` are messages, of which those of users are `turns`, or
    turns of which no message is stored."""
    counts: dict[str, Any] = {"messages": Value(0), "turns": Count("id")}
    if counted.model is Message:
        counts = {"messages": Count("id"), "turns": Count("id", filter=Q(role=Role.USER))}
    # First `values`, so that sums may have the names of columns.
    rows: QuerySet[Any, Row] = counted.order_by().values(*columns)
    figures: QuerySet[Any, Row] = rows.annotate(
        **counts, **{name: Sum(name, default=0) for name in _TOKENS}, cost=Sum("cost")
    )
    return figures


def together(rows: Iterable[Row], columns: Sequence[str]) -> list[Row]:
    """One row of figures for each combination of the columns, in the order of `rows`."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[column] for column in columns), []).append(row)
    return [same[0] | total_of(same) for same in found.values()]


def usage_between(
    counted: Iterable[QuerySet[Any]],
    after: datetime,
    before: datetime,
    groups: Sequence[str],
    limit: int,
) -> list[Row]:
    """At most `limit` rows of figures of the messages and unstored turns created in this time, in
    order of `groups` (names in GROUPS), of which a row has `day` (of the server's time zone),
    `user` (the owner, loaded), `provider` and `model`. One SQL query for each of `counted`, and
    one for the users.
    """
    columns = [column for group in groups for column in GROUPS[group]]
    day = TruncDate("created_at", tzinfo=timezone.get_default_timezone())
    found: list[Row] = []
    for each in counted:
        within = each.filter(created_at__gte=after, created_at__lt=before)
        within = within.annotate(day=day) if "day" in groups else within
        found += figures_by(within, columns).order_by(*columns)[:limit]
    found.sort(key=lambda row: tuple(row[column] for column in columns))
    rows = together(found, columns)[:limit]
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

    `models` has figures of answers by provider and model, most answers first, at most MAX_MODELS.
    They cover only the newest MAX_CONVERSATIONS where `bounded`, and all turns with
    `store: false`. Three SQL queries.
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
    columns = ("provider", "model")
    unstored = UnstoredTurn.objects.filter(user_id=owner_id)
    models = together([*figures_by(answers, columns), *figures_by(unstored, columns)], columns)
    models.sort(key=lambda row: -(row["messages"] + row["turns"]))
    return totals | {
        "models": models[:MAX_MODELS],
        "bounded": totals["conversations"] > MAX_CONVERSATIONS,
    }
