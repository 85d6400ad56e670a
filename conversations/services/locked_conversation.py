"""The lock of a conversation, with what its new messages are placed by, in one statement."""

from __future__ import annotations

import uuid
from typing import NamedTuple

from django.db import connection

from conversations.models import Status


class LockedConversation(NamedTuple):
    """A conversation whose row is locked until the end of the transaction. `has_running` says that
    an answer ran when the lock was asked for."""

    id: uuid.UUID
    user_id: int
    message_count: int
    last_branch: int
    active_branch: int
    has_running: bool = False


_LOCK = f"""
    SELECT id, user_id, message_count, last_branch, active_branch, EXISTS (
        SELECT FROM conversations_message m
        WHERE m.user_id = c.user_id AND m.conversation_id = c.id
            AND m.status = '{Status.STREAMING}')
    FROM conversations_conversation c WHERE c.user_id = %s AND c.{{column}} = %s
    FOR NO KEY UPDATE OF c
"""  # noqa: S608


def lock_by_id(owner_id: int, conversation_id: uuid.UUID) -> LockedConversation | None:
    """The owner's conversation with this id, or None."""
    return _locked("id", owner_id, conversation_id)


def lock_by_external_id(owner_id: int, external_id: str) -> LockedConversation | None:
    """The owner's conversation that an application calls so, or None."""
    return _locked("external_id", owner_id, external_id)


def _locked(column: str, *values: int | str | uuid.UUID) -> LockedConversation | None:
    with connection.cursor() as cursor:
        cursor.execute(_LOCK.format(column=column), values)
        found = cursor.fetchone()
    return LockedConversation._make(found) if found else None
