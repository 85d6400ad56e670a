"""Append messages to a conversation: the only place where a sequence is assigned."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from conversations.db.bulk_rows import Row
from conversations.formats import DRAFT_FIELDS, MessageDraft
from conversations.models import (
    AccessAction,
    AccessContext,
    Status,
    id_from_key,
    new_id,
)
from conversations.models.runner import application_runner
from conversations.services.abandoned_turns import IsDead, interrupt_abandoned
from conversations.services.append_at_end import append_at_end
from conversations.services.append_to_parents import append_to_parents
from conversations.services.audit import owner_of
from conversations.services.branch_placement import Parent
from conversations.services.drafts import check_draft, check_drafts
from conversations.services.errors import (
    Deleted,
    InvalidValue,
    KeyReused,
    NotAllowed,
    ServiceError,
    StaleSequence,
    TurnRunning,
)
from conversations.services.repeated_appends import (
    DELETED_MESSAGE,
    IdsExist,
    stored_before,
    were_deleted,
)
from conversations.services.titles import title_from

MAX_BATCH = 1_000

TOO_MANY = f"A request may append at most {MAX_BATCH:,} messages."
NONE_GIVEN = "At least one message is required."
REPEATED_ID = "Two messages of the request have the same id."
TWO_ANSWERS = "One answer of a conversation can be `streaming`."
NOT_AN_OPENER = "Only its owner or a trusted client opens an answer in a conversation."


def append_drafts(
    *,
    conversation_id: uuid.UUID,
    drafts: Sequence[MessageDraft],
    access: AccessContext,
    key: str | None = None,
    expected_last_sequence: int | None = None,
    owner_id: int | None = None,
    from_client: bool = True,
    single: bool = False,
    is_dead: IsDead = lambda runner: False,
    parents: Sequence[Parent] = (),
    branch: int | None = None,
    activate: bool = True,
    beside: bool = False,
) -> tuple[list[Row], bool]:
    """Append all of the drafts, in order, or none; the stored rows and whether they are new.

    A row maps every column of a message to its value; that of a new message at the end of a branch
    has its `parent_id` too, unless others follow its parent. `key` (an Idempotency-Key) makes the
    write idempotent, as do the drafts' own ids: a repeated call returns the stored rows and False.
    `owner_id` is for callers that have checked already whose conversation it is.
    `from_client` applies the rules for clients, and those for people unless the caller is a script
    or trusted (`check_draft`); one of the drafts may then be `streaming`: an answer that the caller
    opens (`services/application_turns.py`), for which an abandoned one makes room. `single` leaves
    the index out of the field names in errors. `parents` says what each draft follows
    (`branch_placement.Parent`); without them the drafts follow the end of `branch`, by default the
    active one. The branch written to becomes the active one unless `activate` is False. `beside`
    lets the `streaming` one begin while answers of other branches run. Raises InvalidValue,
    NotFound, NotAllowed, ReasonRequired, StaleSequence, KeyReused (an id belongs to another
    message), Deleted (an id belonged to a deleted message) and TurnRunning (two `streaming`
    messages).
    """
    by_person = from_client and _is_person(access)
    _check(drafts, from_client=from_client, by_person=by_person, single=single)
    ids = _ids_for(conversation_id, drafts, key)
    # Before the transaction, so that the AccessRecord of a refused or repeated append, whose
    # response also tells something about the conversation, is not rolled back.
    if owner_id is None:
        owner_id = owner_of(access, conversation_id, action=AccessAction.CHANGE).pk
    if from_client and any(draft.status == Status.STREAMING for draft in drafts):
        _prepare_opening(conversation_id, drafts, access, owner_id, is_dead)
    place = (owner_id, conversation_id)
    rows = [_row(*place, id_, draft) for id_, draft in zip(ids, drafts, strict=True)]
    options: dict[str, Any] = {
        "branch": branch,
        "activate": activate,
        "expected": expected_last_sequence,
        "repeatable": bool(key) or any(draft.id for draft in drafts),
        "beside": beside,
        "moved_at": rows[-1]["created_at"],
        "title": title_from(drafts),
    }
    try:
        if any(parents):
            append_to_parents(*place, rows, parents=parents, single=single, **options)
        else:
            append_at_end(*place, rows, **options)
    except (IdsExist, StaleSequence, InvalidValue) as reason:
        # If no id exists, another unique constraint refuses rows: the one on `streaming`.
        otherwise = TurnRunning() if isinstance(reason, IdsExist) else reason
        # Of a repeated request too the sequence is not the last one any more, and what a message
        # follows may be deleted.
        return stored_before(*place, drafts, ids, parents, key, otherwise), False
    return rows, True


def stored_drafts(
    *,
    conversation_id: uuid.UUID,
    owner_id: int,
    drafts: Sequence[MessageDraft],
    access: AccessContext,
    key: str,
    otherwise: ServiceError,
    parents: Sequence[Parent] = (),
) -> list[Row]:
    """The rows that an equal call of `append_drafts` has stored before; `otherwise` is raised where
    there are none, or others. Raises InvalidValue and Deleted."""
    _check(drafts, from_client=True, by_person=_is_person(access), single=False)
    ids = _ids_for(conversation_id, drafts, key)
    if were_deleted(owner_id, conversation_id, ids):
        raise Deleted(DELETED_MESSAGE, field="messages")
    try:
        return stored_before(owner_id, conversation_id, drafts, ids, parents, key, otherwise)
    except KeyReused:  # not by a key of the client's
        raise otherwise from None


def _is_person(access: AccessContext) -> bool:
    """Whether it is neither a script nor trusted."""
    return access.caller is not None and not access.caller.trusted


def _check(
    drafts: Sequence[MessageDraft], *, from_client: bool, by_person: bool, single: bool
) -> None:
    if not drafts:
        raise InvalidValue(NONE_GIVEN, field="messages", code="empty")
    if len(drafts) > MAX_BATCH:
        raise InvalidValue(TOO_MANY, field="messages", code="max_length")
    if single:
        check_draft(drafts[0], from_client=from_client, by_person=by_person)
    else:
        check_drafts(list(drafts), from_client=from_client, by_person=by_person)


def _prepare_opening(
    conversation_id: uuid.UUID,
    drafts: Sequence[MessageDraft],
    access: AccessContext,
    owner_id: int,
    is_dead: IsDead,
) -> None:
    opened = [draft for draft in drafts if draft.status == Status.STREAMING]
    if len(opened) > 1:
        raise InvalidValue(TWO_ANSWERS, field="messages", code="two_answers")
    runner = application_runner(access, owner_id)
    if runner is None:
        raise NotAllowed(NOT_AN_OPENER, field="status")
    opened[0].runner = runner
    interrupt_abandoned(owner_id=owner_id, conversation_id=conversation_id, is_dead=is_dead)


def _ids_for(
    conversation_id: uuid.UUID, drafts: Sequence[MessageDraft], key: str | None
) -> list[uuid.UUID]:
    ids = [
        draft.id or (id_from_key(conversation_id, f"{key}:{index}") if key else new_id())
        for index, draft in enumerate(drafts)
    ]
    if len(set(ids)) < len(ids):
        raise InvalidValue(REPEATED_ID, field="messages", code="repeated_id")
    return ids


def _row(owner_id: int, conversation_id: uuid.UUID, id_: uuid.UUID, draft: MessageDraft) -> Row:
    """Without its place and `updated_at`."""
    values = {name: getattr(draft, name) for name in DRAFT_FIELDS}
    return values | {
        "id": id_,
        "user_id": owner_id,
        "conversation_id": conversation_id,
        "created_at": draft.created_at or timezone.now(),
    }
