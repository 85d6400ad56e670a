"""What the list shows of conversations anyway, without a record: never what was said."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.db.models import Q, QuerySet
from django.http import Http404

from conversations.models import Conversation
from conversations.services.errors import NO_SUCH_CONVERSATION

_UNLISTED = ("metadata",)


def listed(conversation_id: uuid.UUID) -> Conversation:
    """One row of the list, with its user; Http404 where there is none."""
    rows = Conversation.objects.select_related("user").defer(*_UNLISTED)
    found = rows.filter(pk=conversation_id).first()
    if found is None:
        raise Http404(NO_SUCH_CONVERSATION)
    return found


def any_conversation() -> bool:
    """Whether there is one at all."""
    return Conversation.objects.exists()


def titles_of(conversation_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The titles of those that still exist."""
    rows = Conversation.objects.filter(pk__in=list(conversation_ids)).order_by()
    return dict(rows.values_list("pk", "title"))


def newest_of(owner_id: int) -> QuerySet[Conversation]:
    """The rows of one owner, newest activity first."""
    return Conversation.objects.owned_by(owner_id).newest_first().defer(*_UNLISTED)


def held_of(owner_id: int) -> QuerySet[Conversation]:
    """Those of them that are on legal hold."""
    return newest_of(owner_id).filter(legal_hold=True)


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
    return newest_of(conversation.user_id).filter(beyond).only("title").first()
