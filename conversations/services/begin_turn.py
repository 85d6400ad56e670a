"""The begin of a turn: the question and the empty answer, stored before the model is asked."""

from __future__ import annotations

import uuid
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
from conversations.services.appending import append_drafts
from conversations.services.branch_placement import Parent
from conversations.services.conversations import create_conversation
from conversations.services.drafts import EMPTY_CONTENT, check_draft, first_difference
from conversations.services.errors import InvalidValue, KeyReused, NoQuestion, TurnRunning
from conversations.services.images import check_images

ANOTHER_QUESTION = "This Idempotency-Key is already in use for another message."
# The columns in which what a repeated request stores first has to equal the stored row.
_COMPARED = ("content", "provider", "parts", "extra")
_COMPARED_ALONE = ("provider", "model", "extra")  # of an answer without a new question


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
    answer = _empty_answer(provider, model, runner)
    keyed_id = None
    if key is not None:
        keyed_id = conversation_id or conversation_id_from_key(owner.pk, key)
        question.id, answer.id = user_message_id(keyed_id, key), turn_id_from_key(keyed_id, key)
    parents = [] if parent is None else [parent, None]
    return _begin_once(owner, conversation_id, keyed_id, [question, answer], parents, is_dead)


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
    draft = _empty_answer(provider, model, runner)
    draft.extra = extra
    _check_request(draft)
    keyed_id = None
    if key is not None:
        keyed_id, draft.id = conversation_id, turn_id_from_key(conversation_id, key)
    try:
        turn, created = _begin_once(owner, conversation_id, keyed_id, [draft], [parent_id], is_dead)
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


def _empty_answer(provider: str, model: str, runner: str) -> MessageDraft:
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
    keyed_id: uuid.UUID | None,
    drafts: list[MessageDraft],
    parents: list[Parent],
    is_dead: IsDead,
) -> tuple[Turn, bool]:
    """The turn, and whether it is new. `drafts` ends with the answer; `keyed_id` is the
    conversation where an earlier request with the key would have begun it, None without a key."""
    if keyed_id is None:
        return _store(owner, conversation_id, None, drafts, parents, is_dead), True
    if turn := _begun_before(owner, keyed_id, drafts, is_dead):
        return turn, False
    try:
        return _store(owner, conversation_id, keyed_id, drafts, parents, is_dead), True
    except (IntegrityError, KeyReused, TurnRunning) as error:
        # An equal request may have come first by a moment.
        if turn := _begun_before(owner, keyed_id, drafts, is_dead):
            return turn, False
        if isinstance(error, KeyReused):
            error.field = "Idempotency-Key"
        raise


def _store(
    owner: User,
    conversation_id: uuid.UUID | None,
    new_conversation_id: uuid.UUID | None,
    drafts: list[MessageDraft],
    parents: list[Parent],
    is_dead: IsDead,
) -> Turn:
    """Append the messages, to a new conversation where none is given."""
    answer = drafts[-1]
    with transaction.atomic():
        if conversation_id is None:
            conversation, _ = create_conversation(
                owner=owner,
                model_used=answer.model,
                id=new_conversation_id,
                source="chat",
                field_of_id="Idempotency-Key",
            )
            conversation_id = conversation.pk
        else:
            interrupt_abandoned(owner_id=owner.pk, conversation_id=conversation_id, is_dead=is_dead)
        rows, created = _append(owner, conversation_id, drafts, parents)
        if not created:
            raise KeyReused(ANOTHER_QUESTION, field="Idempotency-Key")
    row = rows[-1]
    return Turn(
        id=row["id"],
        owner_id=owner.pk,
        conversation_id=conversation_id,
        user_message_id=rows[0]["id"] if len(rows) > 1 else None,
        provider=answer.provider,
        model=answer.model,
        steps=[Step(row["id"], extra=answer.extra)],
        place=(row["branch"], row["sequence"]),
    )


def _append(
    owner: User, conversation_id: uuid.UUID, drafts: list[MessageDraft], parents: list[Parent]
) -> tuple[list[Row], bool]:
    try:
        return append_drafts(
            conversation_id=conversation_id,
            drafts=drafts,
            owner_id=owner.pk,
            access=AccessContext(Caller(owner)),
            from_client=False,
            parents=parents,
        )
    except InvalidValue as error:
        error.field = (error.field or "").removeprefix("messages.0.")
        raise


def _begun_before(
    owner: User, conversation_id: uuid.UUID, drafts: list[MessageDraft], is_dead: IsDead
) -> Turn | None:
    """The turn that an equal request with this key began; KeyReused when it asked otherwise."""
    first, answer = drafts[0], drafts[-1]
    assert first.id is not None
    assert answer.id is not None
    names = _COMPARED if first.role == Role.USER else _COMPARED_ALONE
    rows = Message.objects.of(owner.pk, conversation_id).filter(id=first.id)
    stored = rows.values(*names, "id", "metadata", "created_at", "updated_at").first()
    if stored is None:
        return None
    interrupt_abandoned(owner_id=owner.pk, conversation_id=conversation_id, is_dead=is_dead)
    turn = read_turn((owner.pk, conversation_id, answer.id))
    if turn is None:
        return None
    if first is answer:
        # The model has added to it.
        said = stored["extra"] or {}
        stored["extra"] = {name: said.get(name) for name in answer.extra or {}}
    if first_difference(stored, first, names):
        raise KeyReused(ANOTHER_QUESTION, field="Idempotency-Key")
    return replace(turn, user_message_id=stored["id"])
