"""What the API reads of a conversation, once it is known whose it is; each statement is compiled
once."""

from __future__ import annotations

import uuid
from functools import cache
from typing import Any

from django.contrib.auth.models import User

from conversations.api.representations import (
    CONVERSATION_COLUMNS,
    MESSAGE_COLUMNS,
    conversation_from_row,
)
from conversations.db.bulk_rows import Row
from conversations.db.compiled import CompiledSelect, slot
from conversations.models import AccessAction, AccessContext, Caller, Conversation, Message
from conversations.models.message import MessageQuerySet
from conversations.services import NotFound, owner_of
from conversations.services.errors import NO_SUCH_CONVERSATION, NO_SUCH_MESSAGE


def read_conversation(
    access: AccessContext,
    conversation_id: uuid.UUID,
    *,
    action: AccessAction = AccessAction.READ,
    detail: dict[str, Any] | None = None,
) -> tuple[User, Row]:
    """The owner, and the conversation as it is answered; NotFound when it is not there for this
    caller. A look of staff leaves its AccessRecord."""
    owner = owner_of(access, conversation_id, action=action, detail=detail)
    rows = _conversation().fetch({"conversation": conversation_id, "owner": owner.pk})
    if not rows:
        raise NotFound(NO_SUCH_CONVERSATION)
    return owner, conversation_from_row(rows[0], caller_of(access).name_of(owner))


def read_message(access: AccessContext, conversation_id: uuid.UUID, message_id: uuid.UUID) -> Row:
    """One message of a conversation that this caller may see; NotFound."""
    detail = {"message": str(message_id)}
    owner = owner_of(access, conversation_id, action=AccessAction.READ, detail=detail)
    place = {"conversation": conversation_id, "owner": owner.pk}
    rows = _message().fetch(place | {"message": message_id})
    if not rows:
        check_is_there(conversation_id, owner)
        raise NotFound(NO_SUCH_MESSAGE)
    return rows[0]


def check_is_there(conversation_id: uuid.UUID, owner: User) -> None:
    """NotFound unless this owner has this conversation."""
    if not _conversation().fetch({"conversation": conversation_id, "owner": owner.pk}):
        raise NotFound(NO_SUCH_CONVERSATION)


def messages_of_owner() -> MessageQuerySet:
    """The messages of the conversation in slot `conversation`, which is that of slot `owner`."""
    return Message.objects.filter(
        conversation_id=slot("conversation"), conversation__user_id=slot("owner")
    )


def caller_of(access: AccessContext) -> Caller:
    """Every request that got so far has a caller."""
    assert access.caller is not None
    return access.caller


@cache
def _conversation() -> CompiledSelect:
    conversations = Conversation.objects.owned_by(slot("owner")).filter(pk=slot("conversation"))
    return CompiledSelect(conversations, CONVERSATION_COLUMNS)


@cache
def _message() -> CompiledSelect:
    return CompiledSelect(messages_of_owner().filter(id=slot("message")), MESSAGE_COLUMNS)
