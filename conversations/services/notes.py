"""Notes of staff on a conversation: written once, kept until the conversation goes."""

from __future__ import annotations

import uuid

from conversations.models import Caller, Conversation, ConversationNote
from conversations.services.errors import NO_SUCH_CONVERSATION, InvalidValue, NotFound
from conversations.services.values import check_text

MAX_NOTE_CHARS = 10_000
EMPTY_NOTE = "The note may not be empty."
LONG_NOTE = f"Longer than {MAX_NOTE_CHARS:,} characters."


def add_note(*, conversation_id: uuid.UUID, author: Caller, text: str) -> ConversationNote:
    """Raises InvalidValue for an empty or too long text, NotFound. The owner never sees it."""
    text = text.strip()
    check_text("text", text)
    if not text:
        raise InvalidValue(EMPTY_NOTE, field="text", code="blank")
    if len(text) > MAX_NOTE_CHARS:
        raise InvalidValue(LONG_NOTE, field="text", code="max_length")
    if not Conversation.objects.filter(pk=conversation_id).exists():
        raise NotFound(NO_SUCH_CONVERSATION)
    return ConversationNote.objects.create(
        conversation_id=conversation_id,
        author_id=author.user.pk,
        author_name=author.user.username,
        text=text,
    )
