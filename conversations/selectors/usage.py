"""Totals of one owner: conversations, messages, and tokens and cost by model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Max, Min, Q, QuerySet, Sum

from conversations.db.bulk_rows import Row
from conversations.models.conversation import Conversation
from conversations.models.message import Message, Role
from conversations.models.unstored_turn import UnstoredTurn

# Tokens are summed over the newest this many conversations of an owner.
MAX_CONVERSATIONS = 500
MAX_MODELS = 20


def usage_of(owner_id: int) -> Row:
    """`conversations`, `messages`, `held` (on legal hold), `archived` (counts), `first_at` and
    `last_at` (None without conversations), and `models`.

    `models` has rows of provider, model, answers, tokens_in, tokens_out and cost (None where no
    answer has one), most answers first, at most MAX_MODELS. They cover only the newest
    MAX_CONVERSATIONS where `bounded`, and all turns with `store: false`. Three SQL queries.
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
    unstored = UnstoredTurn.objects.filter(user_id=owner_id)
    return totals | {
        "models": _together([*_by_model(answers), *_by_model(unstored)])[:MAX_MODELS],
        "bounded": totals["conversations"] > MAX_CONVERSATIONS,
    }


def _by_model(rows: QuerySet[Any]) -> Iterable[Row]:
    found: Iterable[Row] = rows.values("provider", "model").annotate(
        answers=Count("id"),
        tokens_in=Sum("prompt_tokens", default=0),
        tokens_out=Sum("completion_tokens", default=0),
        total_cost=Sum("cost"),
    )
    return found


def _together(rows: Iterable[Row]) -> list[Row]:
    """One row for each model, most answers first."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        row["cost"] = row.pop("total_cost")
        before = found.setdefault((row["provider"], row["model"]), row)
        if before is not row:
            costs = [cost for cost in (before["cost"], row["cost"]) if cost is not None]
            before["cost"] = sum(costs) if costs else None
            for name in ("answers", "tokens_in", "tokens_out"):
                before[name] += row[name]
    return sorted(found.values(), key=lambda row: -row["answers"])
