"""Somebody's conversation for a page of the admin: the one way to open it, which leaves a record.

What the list shows of a conversation anyway is in `listed`. Whatever reads messages, metadata,
notes or reviews takes an `Opened` conversation, which only `open_conversation` makes.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import NewType

from conversations.models import AccessAction, AccessContext, Conversation
from conversations.services import NotFound, owner_of
from conversations.services.audit import Detail
from conversations.services.errors import NO_SUCH_CONVERSATION

Opened = NewType("Opened", Conversation)


def open_conversation(
    access: AccessContext,
    conversation_id: uuid.UUID,
    *,
    action: AccessAction = AccessAction.READ,
    detail: Detail | Callable[[Conversation], Detail] | None = None,
) -> Opened:
    """The conversation with its user, once the record of this access is written, with `detail`.

    Raises NotFound, and ReasonRequired where the settings ask for a reason.
    """
    owner = owner_of(access, conversation_id, action=action, detail=detail)
    found = Conversation.objects.owned_by(owner.pk).filter(pk=conversation_id).first()
    if found is None:
        raise NotFound(NO_SUCH_CONVERSATION)
    found.user = owner
    return Opened(found)
