"""Turns read back from their rows: the steps of each, and the results of the tools they called."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from conversations.formats.reasoning import reasoning_of
from conversations.models import AccessContext, Message, Role, Status
from conversations.models.lookups import jsonb_has_items
from conversations.models.runner import is_application
from conversations.models.turn import Step, ToolCall, ToolResult, Turn, TurnPk
from conversations.models.turn_ids import MAX_STEPS, result_id, step_id, step_ids
from conversations.selectors.branches import Place, latest_up_to

_NOT_READ = ("extra", "rating", "rating_comment")
_Rows = dict[TurnPk, Any]  # each a Message with `silent_for`


def find_turn(*, message_id: uuid.UUID, access: AccessContext) -> Turn | None:
    """The turn that one of its assistant messages names, if this caller may see it."""
    message = find_message(Q(id=message_id, role=Role.ASSISTANT), access=access)
    if message is None:
        return None
    turn = read_turn((message.user_id, message.conversation_id, _first_of_turn(message).id))
    return turn and replace(turn, user_message_id=question_id_of(turn))


def find_message(named: Q, *, access: AccessContext) -> Message | None:
    """The message with an id, and whatever else `named` says, if this caller may see it.

    Of several messages under this id in conversations that a trusted client or staff may see, the
    oldest is meant: who repeats the id of somebody's answer comes after it.
    """
    found = Message.objects.visible_to(access).filter(named)
    return found.order_by("created_at", "conversation_id").first()


def question_of(message: Message) -> tuple[uuid.UUID, Message] | None:
    """The id of what the turn of an assistant message follows, and its question (id and content).

    They differ where the application has put another message after the question. The calls and
    results of an application's own turn are part of it. None where there is no question, or where
    another answer comes first: its question was deleted.
    """
    first = _first_of_turn(message)
    where, place = (message.user_id, message.conversation_id), (first.branch, first.sequence)
    calls = Q(Q(role=Role.ASSISTANT), Q(jsonb_has_items("tool_calls")))
    others = Message.objects.of(*where).exclude(calls | Q(role=Role.TOOL))
    before = _before(where, place, others.only("role", "content")).first()
    if before is None or before.role == Role.ASSISTANT:
        return None
    if before.role == Role.USER:
        return before.id, before
    question = _before(where, place, others.filter(role=Role.USER)).first()
    return None if question is None else (before.id, question)


def read_turn(pk: TurnPk) -> Turn | None:
    return read_turns([pk]).get(pk)


def read_turns(pks: Sequence[TurnPk]) -> dict[TurnPk, Turn]:
    """The turns that have rows, without their `user_message_id`.

    Two statements, however many they are.
    """
    rows = _rows_of(pks, [id_ for *_, turn in pks for id_ in step_ids(turn)])
    results = _rows_of(pks, _result_ids(pks, rows)) if any(map(_calls, rows.values())) else {}
    found = {pk: _turn(pk, rows, results) for pk in pks}
    return {pk: turn for pk, turn in found.items() if turn is not None}


def _first_of_turn(message: Message) -> Message:
    """The first of the turn's messages, given any of its assistant messages: looked for among those
    before it on its path. Of another one than the given, the place is loaded."""
    if message.id.version != 5:  # made, not derived
        return message
    where, place = (message.user_id, message.conversation_id), (message.branch, message.sequence)
    answers = Message.objects.of(*where).filter(role=Role.ASSISTANT).only("branch", "sequence")
    before = _before(where, place, answers, limit=MAX_STEPS)
    return next((found for found in before if message.id in step_ids(found.id)), message)


def question_id_of(turn: Turn) -> uuid.UUID | None:
    """The last message of the user before a turn, on its path."""
    where = turn.owner_id, turn.conversation_id
    questions = Message.objects.of(*where).filter(role=Role.USER)
    return _before(where, turn.place, questions).values_list("id", flat=True).first()


def _before(
    where: tuple[int, uuid.UUID], place: Place, messages: QuerySet[Message], limit: int = 1
) -> QuerySet[Message]:
    """The latest of these messages before a place, on its path; `where` is owner, conversation."""
    branch, sequence = place
    return latest_up_to(messages, *where, (branch, sequence - 1), limit=limit)


def _rows_of(pks: Iterable[TurnPk], ids: Sequence[uuid.UUID]) -> _Rows:
    """The messages with these ids in the conversations of these turns, by primary key."""
    owners, conversations, _ = map(set, zip(*pks, strict=True))
    owned = Q(user_id=owners.pop()) if len(owners) == 1 else Q(user_id__in=owners)
    found = Message.objects.filter(owned, conversation_id__in=conversations, id__in=ids)
    found = found.defer(*_NOT_READ).annotate(silent_for=Now() - F("updated_at"))
    return {(row.user_id, row.conversation_id, row.id): row for row in found}


def _calls(row: Message) -> int:
    return len(row.tool_calls or ())


def _result_ids(pks: Iterable[TurnPk], rows: _Rows) -> list[uuid.UUID]:
    return [
        result_id(turn_id, step, call)
        for owner_id, conversation_id, turn_id in pks
        for step in range(1, MAX_STEPS + 1)
        if (row := rows.get((owner_id, conversation_id, step_id(turn_id, step))))
        for call in range(_calls(row))
    ]


def _turn(pk: TurnPk, rows: _Rows, results: _Rows) -> Turn | None:
    owner_id, conversation_id, turn_id = pk
    steps = []
    for number, id_ in enumerate(step_ids(turn_id), start=1):
        row = rows.get((owner_id, conversation_id, id_))
        if row is None:
            break
        ids = [result_id(turn_id, number, call) for call in range(_calls(row))]
        found = [results.get((owner_id, conversation_id, id_)) for id_ in ids]
        steps.append(_step(row, [result for result in found if result is not None]))
        last = row
    if not steps:
        return None
    first = rows[pk]
    return Turn(
        id=turn_id,
        owner_id=owner_id,
        conversation_id=conversation_id,
        user_message_id=None,
        provider=last.provider,
        model=last.model,
        steps=steps,
        place=(first.branch, first.sequence),
        created_at=first.created_at,
        sources=last.sources,
        mode=last.detected_mode,
        status=last.status,
        finish_reason=last.finish_reason,
        error=last.error,
        latency_ms=last.latency_ms,
        silent_for=last.silent_for,
    )


def _step(row: Message, results: list[Message]) -> Step:
    # Results in the order in which they came, as a client that watched saw them.
    results.sort(key=lambda result: result.sequence)
    # Events have a step's text before its calls. An application may add text after calls, so those
    # are told at the end of its answer.
    grows = row.status == Status.STREAMING and is_application(row.runner)
    return Step(
        message_id=row.id,
        content=row.content,
        reasoning=reasoning_of(row.parts, None),
        parts=row.parts or [],
        calls=[] if grows else [ToolCall.from_json(call) for call in row.tool_calls or ()],
        results=[
            ToolResult(result.tool_call_id or "", result.name or "", result.content)
            for result in results
        ],
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cached_tokens=row.cached_tokens,
        reasoning_tokens=row.reasoning_tokens,
        cost=row.cost,
        first_token_ms=row.first_token_ms,
    )
