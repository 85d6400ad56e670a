"""The messages that items of OpenAI's APIs are of: by the ids that they were sent with, and without
their conversation."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from conversations.models import Message
from conversations.models.message import SENT_ITEM_ID


def message_of_sent_item(
    owner_id: int, conversation_id: uuid.UUID, item_id: str
) -> uuid.UUID | None:
    """The newest message of a conversation that is an item sent with this id; None if none is."""
    messages = Message.objects.of(owner_id, conversation_id).alias(sent_id=SENT_ITEM_ID)
    found = messages.filter(sent_id=item_id).order_by("-sequence")
    return found.values_list("id", flat=True).first()


def conversations_of(
    owner_id: int, message_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, list[uuid.UUID]]:
    """The owner's messages with these ids, by conversation. Where several have an id, the oldest is
    meant."""
    messages = Message.objects.filter(user_id=owner_id, id__in=message_ids)
    first: dict[uuid.UUID, uuid.UUID] = {}
    for id_, conversation_id in messages.order_by("created_at", "conversation_id").values_list(
        "id", "conversation_id"
    ):
        first.setdefault(id_, conversation_id)
    found: dict[uuid.UUID, list[uuid.UUID]] = {}
    for id_, conversation_id in first.items():
        found.setdefault(conversation_id, []).append(id_)
    return found
