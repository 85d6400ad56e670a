"""The conversations of the same owner on either side of one, by their newest activity."""

from __future__ import annotations

from django.db.models import Q

from conversations.models import Conversation


def newer_of(conversation: Conversation) -> Conversation | None:
    """The next one up the owner's list. One row by conversation_user_updated_idx."""
    beyond = Q(updated_at__gt=conversation.updated_at) | Q(
        updated_at=conversation.updated_at, pk__gt=conversation.pk
    )
    theirs = Conversation.objects.owned_by(conversation.user_id)
    return theirs.only("title").filter(beyond).order_by("updated_at", "id").first()


def older_of(conversation: Conversation) -> Conversation | None:
    """The next one down the owner's list."""
    beyond = Q(updated_at__lt=conversation.updated_at) | Q(
        updated_at=conversation.updated_at, pk__lt=conversation.pk
    )
    theirs = Conversation.objects.owned_by(conversation.user_id)
    return theirs.only("title").filter(beyond).newest_first().first()
