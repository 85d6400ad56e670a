"""Empty locked conversations: of what was said nothing is left, of what was counted everything.

Messages keep their place, role, times, model, tokens, cost, status and rating (`EMPTIED` names the
columns that go); conversations their tags and external id. Notes are deleted, reviews keep their
score and labels. The text of a search vector goes with the content, by its trigger.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db.models import F
from django.utils import timezone

from conversations.models import (
    DEFAULT_TITLE,
    Conversation,
    ConversationNote,
    Message,
    Review,
)
from conversations.models.message import EMPTIED, MessageQuerySet
from conversations.services.deleting import Part

_CONVERSATION = {"title": DEFAULT_TITLE, "metadata": {}}


def empty_whole(owner_id: int, ids: Sequence[uuid.UUID]) -> None:
    """Empty all messages of an owner's conversations."""
    _empty(Message.objects.filter(user_id=owner_id, conversation_id__in=ids))
    _empty_around(owner_id, ids)
    rows = Conversation.objects.owned_by(owner_id).filter(pk__in=ids)
    rows.update(**_CONVERSATION, emptied_through=F("last_sequence"))


def empty_first_messages(conversation: Conversation, limit: int, after: int = 0) -> Part:
    """Empty the oldest messages that are not empty yet, at most `limit`; the conversation knows
    after which."""
    owner_id = conversation.user_id
    messages = Message.objects.of(owner_id, conversation.pk)
    messages = messages.filter(sequence__gt=conversation.emptied_through)
    sequences = list(messages.in_order().values_list("sequence", flat=True)[:limit])
    is_last = len(sequences) < limit or sequences[-1] == conversation.last_sequence
    through = conversation.last_sequence if is_last else sequences[-1]
    emptied = _empty(messages.filter(sequence__lte=through))
    _empty_around(owner_id, [conversation.pk])
    row = Conversation.objects.owned_by(owner_id).filter(pk=conversation.pk)
    row.update(**_CONVERSATION, emptied_through=through)
    return Part(emptied, through, is_last)


def _empty(messages: MessageQuerySet) -> int:
    return messages.filter(emptied_at=None).update(**EMPTIED, emptied_at=timezone.now())


def _empty_around(owner_id: int, ids: Sequence[uuid.UUID]) -> None:
    here = {"user_id": owner_id, "conversation_id__in": ids}
    ConversationNote.objects.filter(**here).delete()
    Review.objects.filter(**here).exclude(comment="").update(comment="")
