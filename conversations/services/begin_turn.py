"""The begin of a turn: the question and the empty answer, stored before the model is asked."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

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
from conversations.services.conversations import create_conversation
from conversations.services.drafts import EMPTY_CONTENT, check_draft, first_difference
from conversations.services.errors import InvalidValue, KeyReused, TurnRunning
from conversations.services.images import check_images

ANOTHER_QUESTION = "This Idempotency-Key is already in use for another message."
# The columns in which a repeated question has to equal the stored one.
_COMPARED = ("content", "provider", "parts", "extra")


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
    key: str | None = None,
    runner: str = "",
    is_dead: IsDead = lambda runner: False,
) -> tuple[Turn, bool]:
    """Store the user message and the empty answer, both or none, before the model is asked.

    `parts` are images; `extra` and `metadata` are those of the user message. Without
    `conversation_id` a conversation of the owner's is started. The flag is False where an earlier
    request with this `key` began the turn, which is then as far as it is stored. Raises
    InvalidValue, NotFound, NotAllowed, KeyReused, and TurnRunning while another turn runs there.
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
    answer = MessageDraft(
        role=Role.ASSISTANT,
        status=Status.STREAMING,
        provider=provider,
        model=model,
        runner=runner or None,
    )
    if key is None:
        return _store(owner, conversation_id, None, question, answer, is_dead)
    keyed_id = conversation_id or conversation_id_from_key(owner.pk, key)
    question.id, answer.id = user_message_id(keyed_id, key), turn_id_from_key(keyed_id, key)
    if turn := _begun_before(owner, keyed_id, question, answer, is_dead):
        return turn, False
    try:
        return _store(owner, conversation_id, keyed_id, question, answer, is_dead)
    except (IntegrityError, KeyReused, TurnRunning):
        # An equal request may have come first by a moment.
        if turn := _begun_before(owner, keyed_id, question, answer, is_dead):
            return turn, False
        raise


def check_question(question: MessageDraft) -> None:
    """Raise InvalidValue, naming the field of the request, unless it can be asked."""
    check_images(question.parts or [])
    try:
        check_draft(question, from_client=True, by_person=True)
        if not question.content.strip() and not question.parts:
            raise InvalidValue(EMPTY_CONTENT, field="content", code="blank")
    except InvalidValue as error:
        field = (error.field or "").removeprefix("extra.request.")
        error.field = "message" if field == "content" else field
        raise


def _store(
    owner: User,
    conversation_id: uuid.UUID | None,
    new_conversation_id: uuid.UUID | None,
    question: MessageDraft,
    answer: MessageDraft,
    is_dead: IsDead,
) -> tuple[Turn, bool]:
    """Append both messages, to a new conversation where none is given."""
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
        rows, created = append_drafts(
            conversation_id=conversation_id,
            drafts=[question, answer],
            owner_id=owner.pk,
            access=AccessContext(Caller(owner)),
            from_client=False,
        )
    question_row, answer_row = rows
    turn = Turn(
        id=answer_row["id"],
        owner_id=owner.pk,
        conversation_id=conversation_id,
        user_message_id=question_row["id"],
        provider=answer.provider,
        model=answer.model,
        steps=[Step(answer_row["id"])],
        question_sequence=question_row["sequence"],
    )
    return turn, created


def _begun_before(
    owner: User,
    conversation_id: uuid.UUID,
    question: MessageDraft,
    answer: MessageDraft,
    is_dead: IsDead,
) -> Turn | None:
    """The turn that an equal request with this key began; KeyReused when it asked otherwise."""
    assert question.id is not None
    assert answer.id is not None
    rows = Message.objects.of(owner.pk, conversation_id).filter(id=question.id)
    stored = rows.values(*_COMPARED, "id", "metadata", "created_at", "updated_at").first()
    if stored is None:
        return None
    interrupt_abandoned(owner_id=owner.pk, conversation_id=conversation_id, is_dead=is_dead)
    turn = read_turn((owner.pk, conversation_id, answer.id))
    if turn is None:
        return None
    if first_difference(stored, question, _COMPARED):
        raise KeyReused(ANOTHER_QUESTION, field="Idempotency-Key")
    return replace(turn, user_message_id=stored["id"])
