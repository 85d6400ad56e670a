"""Totals of one owner: conversations, messages, and tokens by model."""

from __future__ import annotations

from django.db.models import Count, Max, Min, Q, Sum

from conversations.db.bulk_rows import Row
from conversations.models.conversation import Conversation
from conversations.models.message import Message, Role

# Tokens are summed over the newest this many conversations of an owner.
MAX_CONVERSATIONS = 500


def usage_of(owner_id: int) -> Row:
    """`conversations`, `messages`, `held` (on legal hold), `archived` (counts), `first_at` and
    `last_at` (None without conversations), and `models`.

    `models` has rows of provider, model, answers, tokens_in, tokens_out, most answers first, at
    most 20. They cover only the newest MAX_CONVERSATIONS where `bounded`. Two SQL queries.
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
    models = answers.values("provider", "model").annotate(
        answers=Count("id"),
        tokens_in=Sum("prompt_tokens", default=0),
        tokens_out=Sum("completion_tokens", default=0),
    )
    return totals | {
        "models": list(models.order_by("-answers")[:20]),
        "bounded": totals["conversations"] > MAX_CONVERSATIONS,
    }
