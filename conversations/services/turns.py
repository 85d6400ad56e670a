"""The stored side of a turn: every write from the question to the end of the answer.

At each moment of a running turn exactly one of its messages is `streaming`; its `updated_at`
moves about once a second, and its `runner` names the process that runs it. Whoever finds that
row old, or its process dead, ends it as `interrupted`. No write of a turn touches what belongs
to the client: `metadata` and ratings.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from conversations.formats import MessageDraft
from conversations.models import (
    AccessContext,
    Caller,
    Conversation,
    Message,
    Role,
    Status,
    new_id,
)
from conversations.models.turn_ids import (
    conversation_id_from_key,
    result_id,
    step_id,
    step_ids,
    turn_id_from_key,
    user_message_id,
)
from conversations.services.abandoned_turns import IsDead, interrupt_abandoned
from conversations.services.appending import append_drafts
from conversations.services.audit import SCRIPT
from conversations.services.conversations import create_conversation
from conversations.services.drafts import check_draft
from conversations.services.errors import (
    InvalidValue,
    KeyReused,
    NotFound,
    TurnEnded,
    TurnRunning,
)

RUNNING = "A turn runs in this conversation. Wait for its end, or stop it."
ANOTHER_QUESTION = "This Idempotency-Key already stands for another message."
CONVERSATION_DELETED = "The conversation was deleted while it was answered."
ANSWER_DELETED = "The answer was deleted while it was written."
# What `finish_reason` says while somebody has asked for an end that has not come yet.
STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Turn:
    """What names a turn. `id` is its first assistant message's, whatever steps follow."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    user_message_id: uuid.UUID
    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Begun:
    """`created` False: an earlier, equal request has begun this turn."""

    turn: Turn
    created: bool
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """What has come of a running step: all of its text."""

    conversation_id: uuid.UUID
    message_id: uuid.UUID
    content: str
    first_token_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a step ends. Tokens are the step's own; milliseconds count from the turn's begin."""

    status: str
    finish_reason: str | None = None
    error: str | None = None
    content: str = ""
    provider: str = ""
    model: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_ms: int | None = None
    first_token_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: `conversation_id` None starts a conversation of the owner's."""

    owner: User
    content: str
    provider: str
    model: str
    conversation_id: uuid.UUID | None = None
    key: str | None = None
    runner: str = ""
    is_dead: IsDead = field(default=lambda runner: False)


def begin_turn(question: Question) -> Begun:
    """Store the user message and the empty answer, both or none, before the model is asked.

    With a `key` the call is repeatable. Raises InvalidValue, NotFound, NotAllowed, KeyReused,
    and TurnRunning while another turn runs there.
    """
    drafted = MessageDraft(role=Role.USER, content=question.content, provider=question.provider)
    _check_question(drafted)
    if stored := _begun_before(question, drafted.content):
        return stored
    try:
        with transaction.atomic():
            return _begin(question, drafted)
    except (IntegrityError, KeyReused) as error:
        # An equal request may have come first by a moment.
        if stored := _begun_before(question, drafted.content):
            return stored
        if isinstance(error, KeyReused) or "message_one_streaming" not in str(error):
            raise
        raise TurnRunning(RUNNING, field="conversation_id") from None


def _check_question(draft: MessageDraft) -> None:
    try:
        check_draft(draft, from_client=True)
    except InvalidValue as error:
        error.field = "message" if error.field == "content" else error.field
        raise


def _begin(question: Question, asked: MessageDraft) -> Begun:
    key, conversation_id = question.key, question.conversation_id
    if conversation_id is None:
        conversation, _ = create_conversation(
            owner=question.owner,
            model_used=question.model,
            id=conversation_id_from_key(question.owner.pk, key) if key else None,
            source="chat",
            field_of_id="Idempotency-Key",
        )
        conversation_id = conversation.pk
    else:
        interrupt_abandoned(conversation_id=conversation_id, is_dead=question.is_dead)
    asked.id = user_message_id(conversation_id, key) if key else new_id()
    answer = MessageDraft(
        role=Role.ASSISTANT,
        status=Status.STREAMING,
        provider=question.provider,
        model=question.model,
        runner=question.runner or None,
        id=turn_id_from_key(conversation_id, key) if key else new_id(),
    )
    (question_row, answer_row), created = append_drafts(
        conversation_id=conversation_id,
        drafts=[asked, answer],
        access=AccessContext(Caller(question.owner)),
        from_client=False,
    )
    turn = Turn(
        id=answer_row["id"],
        conversation_id=conversation_id,
        user_message_id=question_row["id"],
        provider=question.provider,
        model=question.model,
    )
    return Begun(turn, created=created, sequence=question_row["sequence"])


def _begun_before(question: Question, content: str) -> Begun | None:
    """The turn that an equal request with this key began; KeyReused when it asked otherwise."""
    if question.key is None:
        return None
    conversation_id = question.conversation_id
    if conversation_id is None:
        conversation_id = conversation_id_from_key(question.owner.pk, question.key)
    ids = (
        user_message_id(conversation_id, question.key),
        turn_id_from_key(conversation_id, question.key),
    )
    stored = Message.objects.filter(
        conversation_id=conversation_id, id__in=ids, conversation__user_id=question.owner.pk
    )
    rows = {row.id: row for row in stored}
    if len(rows) < 2:
        return None
    asked, answer = (rows[id_] for id_ in ids)
    if (asked.content, asked.provider) != (content, question.provider):
        raise KeyReused(ANOTHER_QUESTION, field="Idempotency-Key")
    turn = Turn(answer.id, conversation_id, asked.id, answer.provider, answer.model)
    return Begun(turn, created=False, sequence=asked.sequence)


def save_progress(progress: Sequence[Progress]) -> dict[uuid.UUID, bool]:
    """Write what has come of many running turns, in one statement, and show that they live.

    Text only grows: of two writes that overtake each other the longer stays. A row that another
    transaction has locked is left to the next call: if one waited for it, all would look
    abandoned. Maps the messages that are still `streaming` to whether somebody asked them to stop;
    one that is missing was ended or deleted by somebody else.
    """
    place = "(%s::uuid, %s::uuid, %s::text, %s::integer)"
    values = [
        value
        for one in progress
        for value in (one.conversation_id, one.message_id, one.content, one.first_token_ms)
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            _SAVE.format(rows=", ".join([place] * len(progress))),
            [*values, Status.STREAMING, timezone.now(), STOPPING, Status.STREAMING],
        )
        return {row[0]: row[1] for row in cursor.fetchall()}


_SAVE = """
    WITH new (conversation_id, id, content, first_token_ms) AS (VALUES {rows}),
    unlocked AS MATERIALIZED (
        SELECT conversation_id, id
        FROM conversations_message AS stored JOIN new USING (conversation_id, id)
        WHERE stored.status = %s
        FOR NO KEY UPDATE OF stored SKIP LOCKED
    ),
    saved AS (
        UPDATE conversations_message AS stored SET
            content = CASE WHEN starts_with(new.content, stored.content)
                           THEN new.content ELSE stored.content END,
            first_token_ms = COALESCE(new.first_token_ms, stored.first_token_ms),
            updated_at = %s
        FROM new JOIN unlocked USING (conversation_id, id)
        WHERE stored.conversation_id = new.conversation_id AND stored.id = new.id
    )
    SELECT id, COALESCE(stored.finish_reason = %s, false)
    FROM conversations_message AS stored JOIN new USING (conversation_id, id)
    WHERE stored.status = %s
"""


def record_opening(*, turn: Turn, mode: str | None, sources: list[Any] | None) -> None:
    """What was found out before the model began to answer. Raises TurnEnded."""
    _update_running(turn, 1, detected_mode=mode, sources=sources)


def record_tool_calls(
    *, turn: Turn, step: int, content: str, tool_calls: list[dict[str, Any]]
) -> None:
    """The step calls tools: stored before they run, so that no call goes without a trace.

    Raises TurnEnded.
    """
    _update_running(turn, step, content=content, tool_calls=tool_calls)


def record_tool_result(
    *, turn: Turn, step: int, call: int, tool_call_id: str, name: str, content: str
) -> None:
    """What a tool answered, as a message of its own after the call. Raises TurnEnded."""
    draft = MessageDraft(
        role=Role.TOOL,
        content=content,
        tool_call_id=tool_call_id,
        name=name,
        provider=turn.provider,
        model=turn.model,
        id=result_id(turn.id, step, call),
    )
    with transaction.atomic():
        _append(turn, draft)
        # After the append: conversation, then message, is the order in which all writes lock.
        _update_running(turn, step)


def open_step(*, turn: Turn, step: int, before: Ending) -> None:
    """End step `step - 1`, which called tools, and open the next: the answer goes on there.

    Sources, mode and a stop request belong to the answer, so they move along. It may be called
    again when it is not known whether it was done. Raises TurnEnded.
    """
    with transaction.atomic():
        _lock_conversation(turn.conversation_id)
        rows = _running(turn.conversation_id, step_id(turn.id, step - 1))
        ended = rows.values("sources", "detected_mode", "finish_reason", "runner").first()
        if ended is None:
            if _running(turn.conversation_id, step_id(turn.id, step)).exists():
                return
            raise TurnEnded
        changed = rows.update(**_columns(before), sources=None, detected_mode=None)
        if not changed:
            raise TurnEnded
        stops = ended["finish_reason"] == STOPPING
        draft = MessageDraft(
            role=Role.ASSISTANT,
            status=Status.STREAMING,
            finish_reason=STOPPING if stops else None,
            provider=turn.provider,
            model=turn.model,
            sources=ended["sources"],
            detected_mode=ended["detected_mode"],
            runner=ended["runner"],
            id=step_id(turn.id, step),
        )
        _append(turn, draft)


def finish_turn(*, turn: Turn, step: int, ending: Ending) -> bool:
    """End the turn's last step. False when it had been ended or deleted by somebody else."""
    columns = _columns(ending)
    if _running(turn.conversation_id, step_id(turn.id, step)).update(**columns):
        return True
    # Where time was up while the next step was being opened, the caller does not know of it.
    following = _running(turn.conversation_id, step_id(turn.id, step + 1))
    return bool(following.update(**columns | {"content": ""}))


def why_not_stored(conversation_id: uuid.UUID) -> str:
    """Why a turn of this conversation has no answer any more."""
    if Conversation.objects.filter(pk=conversation_id).exists():
        return ANSWER_DELETED
    return CONVERSATION_DELETED


def request_stop(*, conversation_id: uuid.UUID, message_id: uuid.UUID) -> bool:
    """Ask the process that runs a turn to stop it; it looks about once a second.

    `message_id` is the turn's own; whichever of its steps runs is marked. False when none does.
    """
    rows = Message.objects.filter(
        conversation_id=conversation_id, id__in=step_ids(message_id), status=Status.STREAMING
    )
    with transaction.atomic():
        # Before or after a next step is opened, not while: either way the request is seen.
        _lock_conversation(conversation_id)
        return bool(rows.update(finish_reason=STOPPING))


def _append(turn: Turn, draft: MessageDraft) -> None:
    try:
        append_drafts(
            conversation_id=turn.conversation_id, drafts=[draft], access=SCRIPT, from_client=False
        )
    except NotFound:
        raise TurnEnded from None


def _lock_conversation(conversation_id: uuid.UUID) -> None:
    """Until the transaction ends. Nothing happens where there is none."""
    found = Conversation.objects.filter(pk=conversation_id).select_for_update()
    found.values_list("pk", flat=True).first()


def _update_running(turn: Turn, step: int, **columns: Any) -> None:
    rows = _running(turn.conversation_id, step_id(turn.id, step))
    if not rows.update(**columns, updated_at=timezone.now()):
        raise TurnEnded


def _running(conversation_id: uuid.UUID, message_id: uuid.UUID) -> Any:
    return Message.objects.filter(
        conversation_id=conversation_id, id=message_id, status=Status.STREAMING
    )


def _columns(ending: Ending) -> dict[str, Any]:
    names = (*_ALWAYS, *(name for name in _KNOWN if getattr(ending, name) not in (None, "")))
    values = {name: getattr(ending, name) for name in names}
    return values | {"runner": None, "updated_at": timezone.now()}


_ALWAYS = ("status", "finish_reason", "error", "content")
_KNOWN = (
    "provider",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "latency_ms",
    "first_token_ms",
)
