"""Turns of which nothing is kept but counts: no message, no conversation."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User

from conversations.formats import MessageDraft
from conversations.models import Role, UnstoredTurn, new_id
from conversations.models.turn import Step, Turn
from conversations.services.begin_turn import check_question


def begin_unstored_turn(
    *,
    owner: User,
    content: str,
    provider: str,
    model: str,
    parts: list[Any] | None = None,
    extra: dict[str, Any] | None = None,
) -> Turn:
    """A turn that is in memory alone. Raises InvalidValue for what could not be stored either."""
    draft = MessageDraft(
        role=Role.USER, content=content, provider=provider, model=model, parts=parts, extra=extra
    )
    check_question(draft)
    return unstored_turn(owner=owner, provider=provider, model=model)


def unstored_turn(*, owner: User, provider: str, model: str) -> Turn:
    """A turn that is in memory alone."""
    id_ = new_id()
    return Turn(
        id=id_,
        owner_id=owner.pk,
        conversation_id=id_,
        user_message_id=None,
        provider=provider,
        model=model,
        steps=[Step(id_)],
        stored=False,
    )


def count_turn(turn: Turn) -> None:
    """Store what a turn used that has ended; once, however often it is called."""
    counts = UnstoredTurn(
        id=turn.id,
        user_id=turn.owner_id,
        provider=turn.provider,
        model=turn.model,
        status=turn.status,
        finish_reason=turn.finish_reason,
        latency_ms=turn.latency_ms,
        first_token_ms=turn.first_token_ms,
        **turn.usage,
    )
    UnstoredTurn.objects.bulk_create([counts], ignore_conflicts=True)
