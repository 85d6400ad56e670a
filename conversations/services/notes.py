"""Notes of staff on a conversation: immutable, deleted with the conversation."""

from __future__ import annotations

import uuid

from django.db import transaction

from conversations.models import AccessAction, AccessContext, ConversationNote
from conversations.services.audit import SCRIPT_NAME, owner_of
from conversations.services.errors import InvalidValue
from conversations.services.validators import check_text

MAX_NOTE_CHARS = 10_000
EMPTY_NOTE = "The note may not be empty."
LONG_NOTE = f"Longer than {MAX_NOTE_CHARS:,} characters."


def add_note(*, conversation_id: uuid.UUID, text: str, access: AccessContext) -> ConversationNote:
    """Add a note, which the owner cannot see.

    Raises InvalidValue for an empty or too long text, NotFound, NotAllowed, ReasonRequired.
    """
    text = text.strip()
    check_text("text", text)
    if not text:
        raise InvalidValue(EMPTY_NOTE, field="text", code="blank")
    if len(text) > MAX_NOTE_CHARS:
        raise InvalidValue(LONG_NOTE, field="text", code="max_length")
    with transaction.atomic():
        detail = {"note": True}
        owner = owner_of(access, conversation_id, action=AccessAction.CHANGE, detail=detail)
        return ConversationNote.objects.create(
            user_id=owner.pk,
            conversation_id=conversation_id,
            author_id=access.caller.user.pk if access.caller else None,
            author_name=access.caller.user.username if access.caller else SCRIPT_NAME,
            text=text,
        )
