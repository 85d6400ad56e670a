"""The begin of a turn: the question and the empty answer, stored before the model is asked."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from conversations.db.bulk_rows import Row
from conversations.formats import MessageDraft
from conversations.models import AccessContext, Caller, Message, Role, Status
from conversations.models.turn import Step, Turn
from conversations.models.turn_ids import (
    conversation_id_from_key,
    turn_id_from_key,
    user_message_id,
)
from conversations.selectors.turn_log import read_turn
from conversations.services.abandoned_turns import IsDead, interrupt_abandoned
from conversations.services.appending import MAX_BATCH, append_drafts
from conversations.services.branch_placement import Parent
from conversations.services.conversations import create_conversation
from conversations.services.drafts import EMPTY_CONTENT, check_draft, first_difference
from conversations.services.errors import InvalidValue, KeyReused, NoQuestion, TurnRunning
from conversations.services.images import check_images

ANOTHER_QUESTION = "This Idempotency-Key is already in use for another message."
# The columns in which what a repeated request would store has to equal the stored rows.
_COMPARED = ("role", "content", "parts", "tool_calls", "tool_call_id", "name", "provider", "extra")
_COMPARED_OF_ANSWER = ("provider", "model", "extra")


def begin_turn(
    *,
    owner: User,
    content: str,
    provider: str,
    model: str,
    parts: list[Any] | None = None,
    extra: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    conversation_id: uuid.UUID | None = None,
    parent: Parent = None,
    key: str | None = None,
    runner: str = "",
    is_dead: IsDead = lambda runner: False,
) -> tuple[Turn, bool]:
    """Store the user message and the empty answer, both or none, before the model is asked.

    `parts` are images; `extra` and `metadata` are those of the user message, and `parent` is what
    it follows: None is the end of the active branch. Without `conversation_id` a conversation of
    the owner's is started. The flag is False where an earlier request with this `key` began the
    turn, which is then as far as it is stored. Raises InvalidValue, NotFound, NotAllowed,
    KeyReused, and TurnRunning while another turn runs there.
    """
    question = MessageDraft(
        role=Role.USER,
        content=content,
        provider=provider,
        parts=parts,
        extra=extra,
        metadata=metadata or {},
    )
    check_question(question)
    answer = empty_answer(provider, model, runner)
    return _begin_once(owner, conversation_id, key, [question, answer], parent, is_dead)


def begin_turn_after(
    *,
    owner: User,
    conversation_id: uuid.UUID | None,
    parent: Parent,
    drafts: Sequence[MessageDraft],
    provider: str,
    model: str,
    extra: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    key: str | None = None,
    runner: str = "",
    is_dead: IsDead = lambda runner: False,
) -> tuple[Turn, bool]:
    """Store these messages after `parent` and the empty answer after them, all or none.

    There may be no messages, or any number. None as `parent` is the end of the active branch, None
    as `conversation_id` a new conversation of the owner's. `extra` and `metadata` are those of the
    answer: what else of a request with a `key` must be equal when it is repeated belongs in
    `extra`, as does `parent`. The flag and the errors are those of `begin_turn`; the field of an
    error in a message is its path, `messages.3.content`.
    """
    answer = empty_answer(provider, model, runner)
    answer.extra, answer.metadata = extra, metadata or {}
    return _begin_once(owner, conversation_id, key, [*drafts, answer], parent, is_dead)


def begin_again(
    *,
    owner: User,
    conversation_id: uuid.UUID,
    question_id: uuid.UUID,
    parent_id: uuid.UUID,
    provider: str,
    model: str,
    extra: dict[str, Any],
    key: str | None = None,
    runner: str = "",
    is_dead: IsDead = lambda runner: False,
) -> tuple[Turn, bool]:
    """Store another empty answer to a stored question, a sibling of the earlier ones.

    `parent_id` is the message that it follows; `extra`, which says what was requested, is that of
    the answer. `key`, the flag and the errors are those of `begin_turn`; NoQuestion where the
    parent was deleted meanwhile.
    """
    draft = empty_answer(provider, model, runner)
    draft.extra = extra
    _check_request(draft)
    try:
        turn, created = _begin_once(owner, conversation_id, key, [draft], parent_id, is_dead)
    except InvalidValue as error:
        if error.code == "not_found":
            raise NoQuestion from None
        error.field = "regenerate"
        raise
    return replace(turn, user_message_id=question_id), created


def check_question(question: MessageDraft) -> None:
    """Raise InvalidValue, naming the field of the request, unless it can be asked."""
    check_images(question.parts or [])
    _check_request(question)
    if not question.content.strip() and not question.parts:
        raise InvalidValue(EMPTY_CONTENT, field="message", code="blank")


def _check_request(draft: MessageDraft) -> None:
    """Check the first message of a turn, naming the fields of the request in errors."""
    try:
        check_draft(draft, from_client=True, by_person=True)
    except InvalidValue as error:
        field = (error.field or "").removeprefix("extra.request.")
        error.field = "message" if field == "content" else field
        raise


def empty_answer(provider: str, model: str, runner: str) -> MessageDraft:
    """The message of an answer before the model is asked."""
    return MessageDraft(
        role=Role.ASSISTANT,
        status=Status.STREAMING,
        provider=provider,
        model=model,
        runner=runner or None,
    )


def _begin_once(
    owner: User,
    conversation_id: uuid.UUID | None,
    key: str | None,
    drafts: list[MessageDraft],
    parent: Parent,
    is_dead: IsDead,
) -> tuple[Turn, bool]:
    """The turn, and whether it is new. `drafts` ends with the answer."""
    if key is None:
        return _store(owner, conversation_id, None, drafts, parent, is_dead), True
    # Where an earlier request with the key would have begun it.
    keyed_id = conversation_id or conversation_id_from_key(owner.pk, key)
    drafts = _with_ids(keyed_id, drafts, key)
    if turn := _begun_before(owner, keyed_id, drafts, key, is_dead):
        return turn, False
    try:
        return _store(owner, conversation_id, keyed_id, drafts, parent, is_dead), True
    except (IntegrityError, KeyReused, TurnRunning) as error:
        # An equal request may have come first by a moment.
        if turn := _begun_before(owner, keyed_id, drafts, key, is_dead):
            return turn, False
        if isinstance(error, KeyReused):
            error.field = "Idempotency-Key"
        raise


def _with_ids(
    conversation_id: uuid.UUID, drafts: list[MessageDraft], key: str
) -> list[MessageDraft]:
    asked = [
        replace(draft, id=user_message_id(conversation_id, key, index))
        for index, draft in enumerate(drafts[:-1])
    ]
    return [*asked, replace(drafts[-1], id=turn_id_from_key(conversation_id, key))]


def _store(
    owner: User,
    conversation_id: uuid.UUID | None,
    new_conversation_id: uuid.UUID | None,
    drafts: list[MessageDraft],
    parent: Parent,
    is_dead: IsDead,
) -> Turn:
    """Append the messages, to a new conversation where none is given."""
    with transaction.atomic():
        if conversation_id is None:
            conversation, _ = create_conversation(
                owner=owner,
                model_used=drafts[-1].model,
                id=new_conversation_id,
                source="chat",
                field_of_id="Idempotency-Key",
            )
            conversation_id = conversation.pk
        else:
            interrupt_abandoned(owner_id=owner.pk, conversation_id=conversation_id, is_dead=is_dead)
        return append_turn(owner, conversation_id, drafts, parent)


def append_turn(
    owner: User,
    conversation_id: uuid.UUID,
    drafts: list[MessageDraft],
    parent: Parent,
    *,
    beside: bool = False,
) -> Turn:
    """Append the messages of a turn, of which the last is its empty answer. In a transaction.

    `beside` lets it begin while answers of other branches run.

    Raises InvalidValue, TurnRunning, and KeyReused where messages with these ids are stored.
    """
    rows = _append(owner, conversation_id, drafts, parent, beside)
    row, answer = rows[-1], drafts[-1]
    return Turn(
        id=row["id"],
        owner_id=owner.pk,
        conversation_id=conversation_id,
        user_message_id=_last_of_user((each["role"], each["id"]) for each in rows),
        provider=answer.provider,
        model=answer.model,
        steps=[Step(row["id"], extra=answer.extra)],
        place=(row["branch"], row["sequence"]),
        created_at=row["created_at"],
    )


def _append(
    owner: User,
    conversation_id: uuid.UUID,
    drafts: list[MessageDraft],
    parent: Parent,
    beside: bool,
) -> list[Row]:
    """In a transaction. Raises KeyReused where an earlier request stored them."""
    stored: list[Row] = []
    for start in range(0, len(drafts), MAX_BATCH):
        batch = drafts[start : start + MAX_BATCH]
        # Later batches follow the end of the branch, which the first one has made the active one.
        first = None if start else parent
        try:
            rows, created = append_drafts(
                conversation_id=conversation_id,
                drafts=batch,
                owner_id=owner.pk,
                access=AccessContext(Caller(owner)),
                from_client=False,
                parents=[first, *[None] * (len(batch) - 1)] if first else [],
                beside=beside,
            )
        except InvalidValue as error:
            error.field = _path_in_request(error.field or "", start, len(drafts))
            raise
        if not created:
            raise KeyReused(ANOTHER_QUESTION, field="Idempotency-Key")
        stored += rows
    return stored


def _path_in_request(field: str, start: int, count: int) -> str:
    """`messages.3.content` for the field of a batch that begins with the message `start`; without
    the path for the parent, and for the answer, the last of the `count` messages."""
    place, _, name = field.removeprefix("messages.").partition(".")
    if not place.isdigit():
        return field
    index = start + int(place)
    return name if name == "parent_id" or index == count - 1 else f"messages.{index}.{name}"


def _begun_before(
    owner: User,
    conversation_id: uuid.UUID,
    drafts: list[MessageDraft],
    key: str,
    is_dead: IsDead,
) -> Turn | None:
    """The turn that an equal request with this key began; KeyReused when it asked otherwise."""
    answer = drafts[-1]
    assert answer.id is not None
    # With one more, which a longer request with the key would have stored.
    beyond = user_message_id(conversation_id, key, len(drafts) - 1)
    ids = [beyond, *(draft.id for draft in drafts if draft.id)]
    rows = Message.objects.of(owner.pk, conversation_id).filter(id__in=ids)
    columns = {*_COMPARED, *_COMPARED_OF_ANSWER, "id", "metadata", "created_at", "updated_at"}
    stored = {row["id"]: row for row in rows.values(*columns)}
    if any(draft.id not in stored for draft in drafts):
        return None
    interrupt_abandoned(owner_id=owner.pk, conversation_id=conversation_id, is_dead=is_dead)
    turn = read_turn((owner.pk, conversation_id, answer.id))
    if turn is None:
        return None
    # The model has added to it.
    said = stored[answer.id]["extra"] or {}
    stored[answer.id]["extra"] = answer.extra and {name: said.get(name) for name in answer.extra}
    for draft in drafts:
        assert draft.id is not None
        names = _COMPARED_OF_ANSWER if draft is answer else _COMPARED
        if first_difference(stored[draft.id], draft, names):
            raise KeyReused(ANOTHER_QUESTION, field="Idempotency-Key")
    if beyond in stored:
        raise KeyReused(ANOTHER_QUESTION, field="Idempotency-Key")
    asked = _last_of_user((draft.role, draft.id) for draft in drafts)
    return replace(turn, user_message_id=asked)


def _last_of_user(messages: Iterable[tuple[str, uuid.UUID | None]]) -> uuid.UUID | None:
    """The id of the question among these roles and ids."""
    return [None, *(id_ for role, id_ in messages if role == Role.USER)][-1]
