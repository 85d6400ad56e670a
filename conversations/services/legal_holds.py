"""Place and release legal holds, which prevent changes and deletion of a conversation."""

from __future__ import annotations

import uuid

from django.db import transaction

from conversations.models import AccessAction, AccessContext, Conversation, LegalHoldRecord
from conversations.services.audit import record_access
from conversations.services.conversations import locked_conversation
from conversations.services.errors import ReasonRequired


def set_legal_hold(*, conversation_id: uuid.UUID, on_hold: bool, access: AccessContext) -> bool:
    """Place or release a legal hold and store an AccessRecord; returns whether anything changed.

    `updated_at` stays, which orders the owner's list. Raises NotFound, NotAllowed, and
    ReasonRequired without a reason.
    """
    if not access.reason.strip():
        raise ReasonRequired
    detail = {"on_hold": on_hold}
    with transaction.atomic():
        conversation = locked_conversation(conversation_id, access, AccessAction.HOLD, detail)
        if conversation.legal_hold == on_hold:
            transaction.set_rollback(True)  # also the AccessRecord: nothing was changed
            return False
        if not access.leaves_record(conversation.user_id):
            record_access(
                access,
                AccessAction.HOLD,
                owner=conversation.user,
                conversation_id=conversation_id,
                detail=detail,
            )
        # First the record that the trigger on this column requires (migrations 0007 and 0017).
        owner_id = conversation.user_id
        LegalHoldRecord.objects.create(
            user_id=owner_id, conversation_id=conversation_id, on_hold=on_hold
        )
        row = Conversation.objects.owned_by(owner_id).filter(pk=conversation_id)
        row.update(legal_hold=on_hold)
    return True
