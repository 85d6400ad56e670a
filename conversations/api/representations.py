"""Rows as they are answered: the fast side of the shapes that `serializers` declares."""

from __future__ import annotations

from conversations.api.serializers import ConversationSerializer, MessageSerializer
from conversations.models import Conversation
from conversations.models.rows import Row

MESSAGE_COLUMNS: tuple[str, ...] = MessageSerializer.Meta.fields
CONVERSATION_FIELDS: tuple[str, ...] = ConversationSerializer.Meta.fields
CONVERSATION_COLUMNS = tuple(
    "archived_at" if name == "archived" else name for name in CONVERSATION_FIELDS
)


def conversation_from_row(row: Row) -> Row:
    """A row of CONVERSATION_COLUMNS as it is answered."""
    row["archived"] = row["archived_at"] is not None
    return {name: row[name] for name in CONVERSATION_FIELDS}


def conversation_from_model(conversation: Conversation) -> Row:
    return {name: getattr(conversation, name) for name in CONVERSATION_FIELDS}


def message_from_row(row: Row) -> Row:
    """A row of all columns as it is answered."""
    return {name: row[name] for name in MESSAGE_COLUMNS}
