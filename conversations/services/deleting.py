"""Delete locked conversations whole, or the beginning of one, and reserve their ids."""

from __future__ import annotations

import uuid
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import F
from django.utils import timezone

from conversations.db.bulk_rows import insert_new_rows, row_of
from conversations.models import Branch, Conversation, Tombstone
from conversations.models.branch_path import FIRST_LINE
from conversations.selectors.branches import BEGINNING


@dataclass(frozen=True, slots=True)
class Part:
    """How many messages went, up to which sequence, and whether these were the last."""

    messages: int = 0
    through: int = 0
    is_last: bool = False


def delete_whole(owner_id: int, ids: Sequence[uuid.UUID]) -> None:
    """Delete an owner's conversations with all that is theirs; a tombstone reserves each id."""
    Tombstone.objects.filter(user_id=owner_id, conversation_id__in=ids).delete()
    tombstones = [Tombstone(user_id=owner_id, conversation_id=id_, id=id_) for id_ in ids]
    insert_new_rows(Tombstone, list(map(row_of, tombstones)))
    Conversation.objects.owned_by(owner_id).filter(pk__in=ids).delete()


_DELETE = """
    WITH deleted AS (
        DELETE FROM conversations_message
        WHERE user_id = %(owner)s AND conversation_id = %(conversation)s AND sequence IN (
            SELECT sequence FROM conversations_message
            WHERE user_id = %(owner)s AND conversation_id = %(conversation)s
                AND sequence > %(after)s
            ORDER BY sequence LIMIT %(limit)s)
        RETURNING id, sequence, branch
    ), kept AS (
        INSERT INTO conversations_tombstone (user_id, conversation_id, id, deleted_at)
        SELECT %(owner)s, %(conversation)s, id, %(now)s FROM deleted
    )
    SELECT branch, array_agg(sequence ORDER BY sequence) FROM deleted GROUP BY branch
"""


def delete_first_messages(conversation: Conversation, limit: int, after: int = 0) -> Part:
    """Delete the oldest messages, at most `limit`; with the last of them the conversation.

    Those up to the sequence `after` are known to be gone: the index still leads to each of them.
    """
    if conversation.message_count <= limit:
        delete_whole(conversation.user_id, [conversation.pk])
        return Part(conversation.message_count, conversation.last_sequence, is_last=True)
    place: dict[str, Any] = {"owner": conversation.user_id, "conversation": conversation.pk}
    with connection.cursor() as cursor:
        cursor.execute(_DELETE, place | {"after": after, "limit": limit, "now": timezone.now()})
        deleted: dict[int, list[int]] = dict(cursor.fetchall())
    through = max(sequences[-1] for sequences in deleted.values())
    if conversation.last_branch:
        _shorten_branches(conversation, deleted, through)
    count = sum(map(len, deleted.values()))
    row = Conversation.objects.owned_by(conversation.user_id).filter(pk=conversation.pk)
    row.update(message_count=F("message_count") - count)
    return Part(count, through)


def _shorten_branches(
    conversation: Conversation, deleted: dict[int, list[int]], through: int
) -> None:
    """Nothing is left up to this sequence: what forked there begins by itself now."""
    rows = Branch.objects.of(conversation.user_id, conversation.pk)
    for branch in rows.filter(number__gte=FIRST_LINE):
        gone = sum(
            bisect_right(deleted.get(part.branch, []), part.until)
            - bisect_right(deleted.get(part.branch, []), part.after)
            for part in branch.path.ranges(until=through)
        )
        if gone:
            rows.filter(number=branch.number).update(length=F("length") - gone)
    forked = rows.filter(fork_sequence__gt=0, fork_sequence__lte=through)
    forked.update(fork_branch=BEGINNING[0], fork_sequence=BEGINNING[1], parent=FIRST_LINE)
