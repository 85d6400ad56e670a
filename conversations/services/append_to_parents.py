"""Append messages of which some say what they follow: to the ends of branches, or on new ones."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from conversations.db.bulk_rows import DATABASE_TIME, Row, insert_new_rows
from conversations.models import DEFAULT_TITLE, Conversation, Message, Status
from conversations.services.branch_placement import Parent, Placement
from conversations.services.errors import (
    NO_SUCH_CONVERSATION,
    Deleted,
    InvalidValue,
    NotFound,
    StaleSequence,
)
from conversations.services.repeated_appends import DELETED_MESSAGE, IdsExist, were_deleted


def append_to_parents(
    owner_id: int,
    conversation_id: uuid.UUID,
    rows: Sequence[Row],
    *,
    parents: Sequence[Parent],
    single: bool,
    branch: int | None,
    activate: bool,
    expected: int | None,
    repeatable: bool,
    beside: bool,
    moved_at: datetime,
    title: str | None,
) -> None:
    """Append the rows and put their places into them; the conversation is locked meanwhile.

    `parents`, `branch`, `activate` and `single` are those of `append_drafts`, the others those of
    `append_at_end`. Raises NotFound, InvalidValue for a parent that is not there, StaleSequence,
    Deleted and IdsExist.
    """
    with transaction.atomic():
        found = Conversation.objects.owned_by(owner_id).filter(pk=conversation_id)
        locked = found.select_for_update(no_key=True).first()
        if locked is None:
            raise NotFound(NO_SUCH_CONVERSATION)
        if not beside and any(row["status"] == Status.STREAMING for row in rows):
            _check_none_runs(owner_id, conversation_id)
        placement = Placement(locked, branch)
        _place(placement, locked.last_sequence + 1, rows, parents, single)
        assert placement.expected is not None
        if expected is not None and expected != placement.expected:
            raise StaleSequence(expected=expected, actual=placement.expected)
        placement.save()
        untitled = locked.title == DEFAULT_TITLE and not locked.legal_hold
        found.update(
            last_sequence=locked.last_sequence + len(rows),
            message_count=locked.message_count + len(rows),
            updated_at=max(locked.updated_at, moved_at),
            active_branch=placement.current if activate else locked.active_branch,
            branch_count=locked.branch_count + placement.added,
            last_branch=placement.last_branch,
            title=title if title and untitled else locked.title,
        )
        inserted = insert_new_rows(Message, rows)
        # Looked up in a statement that sees what was committed before the conversation was locked.
        ids = [row["id"] for row in rows]
        if repeatable and were_deleted(owner_id, conversation_id, ids):
            raise Deleted(DELETED_MESSAGE)
        if len(inserted) != len(rows):
            raise IdsExist


def _check_none_runs(owner_id: int, conversation_id: uuid.UUID) -> None:
    messages = Message.objects.of(owner_id, conversation_id)
    if messages.filter(status=Status.STREAMING).exists():
        raise IdsExist


def _place(
    placement: Placement,
    first: int,
    rows: Sequence[Row],
    parents: Sequence[Parent],
    single: bool,
) -> None:
    for index, (row, parent) in enumerate(zip(rows, parents, strict=True)):
        sequence = first + index
        try:
            branch = placement.add(row["id"], sequence, parent, row["created_at"])
        except InvalidValue as error:
            raise error if single else error.with_field_prefix(f"messages.{index}") from None
        opened = row["status"] == Status.STREAMING
        row |= {"sequence": sequence, "branch": branch}
        # Of a running answer it is the first heartbeat.
        row["updated_at"] = DATABASE_TIME if opened else row["created_at"]
