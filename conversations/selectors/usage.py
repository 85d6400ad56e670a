"""What owners use: counted from their conversations, and from the messages of the newest ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Min, Q, Sum

from conversations.models.conversation import Conversation
from conversations.models.message import Message, Role

# Tokens are added up over the newest this many conversations of an owner.
NEWEST = 500


@dataclass(frozen=True, slots=True)
class Usage:
    """Totals of one owner; `models` are rows of provider, model, answers, tokens in and out,
    bounded to the newest NEWEST conversations where `bounded`."""

    conversations: int
    messages: int
    held: int
    archived: int
    first_at: datetime | None
    last_at: datetime | None
    models: list[dict[str, Any]]

    @property
    def bounded(self) -> bool:
        return self.conversations > NEWEST


def usage_of(owner_id: int) -> Usage:
    """Two queries."""
    theirs = Conversation.objects.owned_by(owner_id)
    totals = theirs.aggregate(
        conversations=Count("pk"),
        messages=Sum("message_count", default=0),
        held=Count("pk", filter=Q(legal_hold=True)),
        archived=Count("pk", filter=Q(archived_at__isnull=False)),
        first_at=Min("created_at"),
        last_at=Max("updated_at"),
    )
    newest = theirs.newest_first().values("pk")[:NEWEST]
    answers = Message.objects.filter(conversation_id__in=newest, role=Role.ASSISTANT)
    models = answers.values("provider", "model").annotate(
        answers=Count("id"),
        tokens_in=Sum("prompt_tokens", default=0),
        tokens_out=Sum("completion_tokens", default=0),
    )
    rows = [dict(row) for row in models.order_by("-answers")[:20]]
    return Usage(models=rows, **totals)
