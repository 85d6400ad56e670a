"""Legal hold: while it is on, nothing of a conversation may go away."""

from __future__ import annotations

import uuid

from django.db import transaction

from conversations.models import AccessAction, Caller, Conversation
from conversations.services.access import record_access
from conversations.services.conversations import writable_conversation


def set_legal_hold(
    *,
    conversation_id: uuid.UUID,
    on_hold: bool,
    by: Caller,
    address: str | None = None,
    reason: str = "",
) -> bool:
    """Place or release a hold, and leave the record of it; whether anything changed.

    The conversation does not move in its owner's list: nothing was said. Raises NotFound.
    """
    with transaction.atomic():
        conversation = writable_conversation(conversation_id, None, lock=True)
        if conversation.legal_hold == on_hold:
            return False
        Conversation.objects.filter(pk=conversation_id).update(legal_hold=on_hold)
        record_access(
            caller=by,
            action=AccessAction.HOLD,
            owner_id=conversation.user_id,
            conversation_id=conversation_id,
            address=address,
            reason=reason,
            detail={"on_hold": on_hold},
        )
    return True
