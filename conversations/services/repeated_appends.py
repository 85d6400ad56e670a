"""What an append stored that is repeated, by the same ids or the same key."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from itertools import pairwise

import orjson
from django.db.models import QuerySet

from conversations.db.bulk_rows import Row
from conversations.formats import DRAFT_FIELDS, MessageDraft
from conversations.models import Message, Status, Tombstone, id_from_key
from conversations.models.branch_path import FIRST_LINE
from conversations.selectors.message_pages import messages_with_ids
from conversations.services.branch_placement import Parent
from conversations.services.drafts import first_difference
from conversations.services.errors import Deleted, KeyReused

ANOTHER_MESSAGE = "This id or Idempotency-Key is already used for another message."
DELETED_MESSAGE = "This id or Idempotency-Key was used for a message that was deleted."

# The columns in which a repeated request has to equal the stored row. Ratings and metadata may
# have been changed since, and `runner` is internal to the server.
_COMPARED = tuple(
    name
    for name in DRAFT_FIELDS
    if name not in {"id", "rating", "rating_comment", "metadata", "runner", "created_at"}
)
# Those of an answer that was opened: it has grown since, or ended.
_COMPARED_WHEN_OPENED = ("role", "tool_call_id", "name")


class IdsExist(Exception):
    """Some of the ids exist: nothing is appended, and the stored messages are compared."""


def stored_before(
    owner_id: int,
    conversation_id: uuid.UUID,
    drafts: Sequence[MessageDraft],
    ids: Sequence[uuid.UUID],
    parents: Sequence[Parent],
    key: str | None,
    otherwise: Exception,
) -> list[Row]:
    """The rows that an earlier, equal request stored under these ids; `otherwise` is raised where
    none of them exists. Raises KeyReused, and Deleted where one was deleted."""
    messages = Message.objects.of(owner_id, conversation_id)
    stored: dict[uuid.UUID, Row] = {
        row["id"]: dict(row) for row in messages.filter(id__in=ids).values()
    }
    if len(stored) < len(ids) and were_deleted(owner_id, conversation_id, ids):
        raise Deleted(DELETED_MESSAGE)
    if not stored:
        raise otherwise
    field = "id" if key is None else "Idempotency-Key"
    # An id that follows the last one: the first request with this key had more messages.
    beyond = key and id_from_key(conversation_id, f"{key}:{len(drafts)}")
    if len(stored) < len(ids) or (beyond and messages.filter(id=beyond).exists()):
        raise KeyReused(ANOTHER_MESSAGE, field=field)
    rows = [stored[id_] for id_ in ids]
    same = all(_is_same(row, draft) for row, draft in zip(rows, drafts, strict=True))
    if not same or not _follow(owner_id, conversation_id, rows, parents):
        raise KeyReused(ANOTHER_MESSAGE, field=field)
    return rows


def were_deleted(owner_id: int, conversation_id: uuid.UUID, ids: Iterable[uuid.UUID]) -> bool:
    """Whether one of these messages was deleted."""
    return _deleted(owner_id, conversation_id, ids).exists()


def _is_same(row: Row, draft: MessageDraft) -> bool:
    if draft.status != Status.STREAMING:
        return first_difference(row, draft, _COMPARED) is None
    same = all(row[name] == getattr(draft, name) for name in _COMPARED_WHEN_OPENED)
    return same and bool(row["content"].startswith(draft.content))


def _follow(
    owner_id: int, conversation_id: uuid.UUID, rows: Sequence[Row], parents: Sequence[Parent]
) -> bool:
    """Whether each of the stored messages follows what the repeated request says.

    What a first message without a parent followed is not known any more, nor is what followed a
    message that was deleted since: both are accepted.
    """
    given = dict(zip([row["id"] for row in rows], parents or [None] * len(rows), strict=True))
    if not any(given.values()) and all(row["branch"] == FIRST_LINE for row in rows):
        return True
    for before, row in pairwise(rows):
        given[row["id"]] = given[row["id"]] or before["id"]
    stored = _parents_of(owner_id, conversation_id, list(given))
    others = {
        parent
        for id_, parent in given.items()
        if parent is not None and stored[id_] != (None if parent == "root" else parent)
    }
    deleted = _deleted(owner_id, conversation_id, others - {"root"})
    return not others or ("root" not in others and deleted.count() == len(others))


def _parents_of(
    owner_id: int, conversation_id: uuid.UUID, ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, uuid.UUID | None]:
    page = messages_with_ids(owner_id, conversation_id, ids)
    return {
        uuid.UUID(row["id"]): uuid.UUID(row["parent_id"]) if row["parent_id"] else None
        for row in (orjson.loads(b"[%b]" % page.json) if page else ())
    }


def _deleted(
    owner_id: int, conversation_id: uuid.UUID, ids: Iterable[uuid.UUID]
) -> QuerySet[Tombstone]:
    return Tombstone.objects.filter(
        user_id=owner_id, conversation_id=conversation_id, id__in=list(ids)
    )
