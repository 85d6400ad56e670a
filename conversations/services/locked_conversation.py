"""The lock of a conversation, with what its new messages are placed by, in one statement."""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple

from conversations.db.functions import DatabaseFunction
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


_BODY = f"""
BEGIN
    RETURN QUERY SELECT c.id, c.user_id, c.message_count, c.last_branch::integer,
        c.active_branch::integer, EXISTS (
            SELECT FROM conversations_message m WHERE m.user_id = owner
                AND m.conversation_id = c.id AND m.status = '{Status.STREAMING}')
    FROM conversations_conversation c
    WHERE c.user_id = owner AND {{condition}} FOR NO KEY UPDATE OF c;
END
"""  # noqa: S608


def _lock(column: str, kind: str) -> DatabaseFunction:
    return DatabaseFunction(
        f"lock_by_{column}",
        arguments=["owner integer", f"named {kind}"],
        returns="""TABLE (
            id uuid, user_id integer, message_count integer, last_branch integer,
            active_branch integer, has_running boolean)""",
        body=_BODY.format(condition=f"c.{column} = named"),
        writes=True,
    )


LOCK_BY_ID = _lock("id", "uuid")
LOCK_BY_EXTERNAL_ID = _lock("external_id", "text")


def lock_by_id(owner_id: int, conversation_id: uuid.UUID) -> LockedConversation | None:
    """The owner's conversation with this id, or None."""
    return _locked(LOCK_BY_ID.rows(owner_id, conversation_id))


def lock_by_external_id(owner_id: int, external_id: str) -> LockedConversation | None:
    """The owner's conversation that an application calls so, or None."""
    return _locked(LOCK_BY_EXTERNAL_ID.rows(owner_id, external_id))


def _locked(rows: list[tuple[Any, ...]]) -> LockedConversation | None:
    return LockedConversation._make(rows[0]) if rows else None
