"""What the API reads, from what the caller may see on; each statement is compiled once."""

from __future__ import annotations

import uuid
from functools import cache

from django.db.models import QuerySet

from conversations.api.representations import CONVERSATION_COLUMNS
from conversations.models import Caller, Conversation, Message
from conversations.models.prepared import Prepared, slot
from conversations.models.rows import Row
from conversations.services import NotFound
from conversations.services.errors import NO_SUCH_CONVERSATION


def visible_conversation(caller: Caller, conversation_id: uuid.UUID) -> Row:
    """The row of CONVERSATION_COLUMNS; NotFound when it is not there for this caller."""
    rows = _conversation(caller.may_read_any).fetch(
        {"conversation": conversation_id, "caller": caller.user.pk}
    )
    if not rows:
        raise NotFound(NO_SUCH_CONVERSATION)
    return rows[0]


@cache
def _conversation(any_owner: bool) -> Prepared:
    conversations = Conversation.objects.filter(pk=slot("conversation"))
    if not any_owner:
        conversations = conversations.owned_by(slot("caller"))
    return Prepared(conversations, CONVERSATION_COLUMNS)


def messages_within(any_owner: bool) -> QuerySet[Message]:
    """The messages of the conversation in slot `conversation`, if the caller may see them."""
    messages = Message.objects.filter(conversation_id=slot("conversation"))
    return messages if any_owner else messages.filter(conversation__user_id=slot("caller"))
