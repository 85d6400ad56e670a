"""Legal hold: while it is on, nothing that is there of a conversation may change or go away."""

from __future__ import annotations

import uuid

from django.db import transaction

from conversations.models import AccessAction, AccessContext, Conversation
from conversations.services.audit import record_access
from conversations.services.conversations import locked_conversation
from conversations.services.errors import ReasonRequired


def set_legal_hold(*, conversation_id: uuid.UUID, on_hold: bool, access: AccessContext) -> bool:
    """Place or release a hold, and leave the record of it; whether anything changed.

    The conversation does not move in its owner's list: nothing was said. Raises NotFound, and
    ReasonRequired without a reason.
    """
    if not access.reason.strip():
        raise ReasonRequired
    detail = {"on_hold": on_hold}
    with transaction.atomic():
        conversation = locked_conversation(conversation_id, access, AccessAction.HOLD, detail)
        if conversation.legal_hold == on_hold:
            transaction.set_rollback(True)  # nothing was done, and so says the audit log
            return False
        if not access.leaves_record(conversation.user_id):
            record_access(
                access,
                AccessAction.HOLD,
                owner=conversation.user,
                conversation_id=conversation_id,
                detail=detail,
            )
        # After its record: without one the database releases nothing (migration 0007).
        Conversation.objects.filter(pk=conversation_id).update(legal_hold=on_hold)
    return True
