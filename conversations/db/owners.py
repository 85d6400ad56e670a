"""Whose conversation an id is, on one node and on a cluster that is sharded by owner."""

from __future__ import annotations

import uuid
from functools import cache

from django.db import DEFAULT_DB_ALIAS, connection

from conversations.models.conversation import Conversation, ConversationQuerySet

# A view of the conversations on one node; on a cluster a table that is sharded by the id, and so
# keeps an id from standing for two owners' conversations (`services/distribution.py`).
OWNERS = "conversations_conversation_owner"
# No user's id.
_NOBODY = 0


@cache
def is_distributed() -> bool:
    """Whether `manage.py distribute` has been run; asked once a process."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) > 0 FROM pg_class WHERE oid = to_regclass(%s) AND relkind <> 'v'",
            [OWNERS],
        )
        return bool(cursor.fetchone()[0])


def conversation_with_id(conversation_id: uuid.UUID) -> ConversationQuerySet:
    """The conversation, whoever's it is, where its owner is not known yet.

    Never read on a replica, since it decides what the caller may do. On a cluster one more
    statement asks for the owner, so that this one runs on one node.
    """
    found = Conversation.objects.using(DEFAULT_DB_ALIAS).filter(pk=conversation_id)
    if not is_distributed():
        return found
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT user_id FROM {OWNERS} WHERE id = %s", [conversation_id])  # noqa: S608
        row = cursor.fetchone()
    # Asked also where there is none: whether an id exists is not told by the number of statements.
    return found.filter(user_id=row[0] if row else _NOBODY)


def claim_conversation_id(conversation_id: uuid.UUID, owner_id: int) -> bool:
    """Keep the id for a conversation that is about to be stored; False where it is taken.

    On one node the primary key does that by itself. An id stays taken when its conversation is
    deleted, until its owner is erased.
    """
    if not is_distributed():
        return True
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {OWNERS} (id, user_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",  # noqa: S608
            [conversation_id, owner_id],
        )
        return bool(cursor.rowcount == 1)


def give_back_conversation_id(conversation_id: uuid.UUID) -> None:
    """Undo the claim of an id whose conversation was not stored."""
    if is_distributed():
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {OWNERS} WHERE id = %s", [conversation_id])  # noqa: S608
