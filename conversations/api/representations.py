"""Rows as they are answered: the fast side of the shapes that `serializers` declares."""

from __future__ import annotations

from conversations.api.serializers import ConversationSerializer, MessageSerializer
from conversations.db.bulk_rows import Row
from conversations.models import Conversation

MESSAGE_COLUMNS: tuple[str, ...] = MessageSerializer.Meta.fields
CONVERSATION_FIELDS: tuple[str, ...] = ConversationSerializer.Meta.fields
# As they are stored; the owner is named in the eyes of the caller, which no column tells.
CONVERSATION_COLUMNS = tuple(
    "archived_at" if name == "archived" else name
    for name in CONVERSATION_FIELDS
    if name != "user_id"
)


def conversation_from_row(row: Row, user_id: int | str) -> Row:
    """A row of CONVERSATION_COLUMNS as it is answered; `user_id` is what the caller calls its
    owner."""
    row["archived"] = row["archived_at"] is not None
    row["user_id"] = user_id
    return {name: row[name] for name in CONVERSATION_FIELDS}


def conversation_from_model(conversation: Conversation, user_id: int | str) -> Row:
    return {
        name: user_id if name == "user_id" else getattr(conversation, name)
        for name in CONVERSATION_FIELDS
    }


def message_from_row(row: Row) -> Row:
    """A row of all columns as it is answered."""
    return {name: row[name] for name in MESSAGE_COLUMNS}
