"""Items of OpenAI's APIs by the ids that they were sent with."""

from __future__ import annotations

import uuid

from conversations.models import Message
from conversations.models.message import SENT_ITEM_ID


def message_of_sent_item(
    owner_id: int, conversation_id: uuid.UUID, item_id: str
) -> uuid.UUID | None:
    """The newest message of a conversation that is an item sent with this id; None if none is."""
    messages = Message.objects.of(owner_id, conversation_id).alias(sent_id=SENT_ITEM_ID)
    found = messages.filter(sent_id=item_id).order_by("-sequence")
    return found.values_list("id", flat=True).first()
