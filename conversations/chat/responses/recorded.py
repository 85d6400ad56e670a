"""Responses that are stored: read, listed with their input, deleted."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from conversations.chat.responses.history import Context, items_at
from conversations.chat.responses.response import REQUEST
from conversations.chat.runtime.runner import runner
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.chat.turn import join, stop
from conversations.models import AccessContext, Message
from conversations.models.turn import Turn
from conversations.models.turn_ids import result_id
from conversations.selectors.turn_log import find_turn
from conversations.services.errors import NotFound, TurnRunning
from conversations.services.messages import delete_message

Json = dict[str, Any]

NO_SUCH_RESPONSE = "No such response."
# More items than the body of a request can have.
MAX_INPUT = 1_000_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """A turn as far as it has come, and what the record keeps of its request."""

    turn: Turn
    request: Json


def recorded_response(access: AccessContext, turn_id: uuid.UUID) -> Recorded:
    """Any turn, by the id of one of its answers. Raises NotFound, ReasonRequired.

    An access of staff to another user's conversation is recorded.
    """
    watched = join(access=access, message_id=turn_id)
    try:
        return _recorded(watched.state())
    finally:
        watched.leave()


def cancel_response(access: AccessContext, turn_id: uuid.UUID) -> tuple[WatchedTurn, Json]:
    """Ask for the end of a turn: it, to be waited for, and what is kept of its request.

    Raises NotFound, NotAllowed, ReasonRequired.
    """
    turn = stop(access=access, message_id=turn_id)
    return runner().watch(turn), _recorded(turn).request


def _recorded(turn: Turn) -> Recorded:
    ids = [step.message_id for step in turn.steps]
    rows = Message.objects.of(turn.owner_id, turn.conversation_id).filter(id__in=ids)
    kept = dict(rows.values_list("id", "extra"))
    for step in turn.steps:
        step.extra = step.extra or kept.get(step.message_id)
    request = (turn.steps[0].extra or {}).get(REQUEST)
    # A client may have stored the message, with anything under this key.
    return Recorded(turn, request if isinstance(request, dict) else {})


def input_of(recorded: Recorded) -> list[Json]:
    """The items of the request, oldest first: what is stored of them."""
    turn, said = recorded.turn, recorded.request.get("input")
    count = said if isinstance(said, int) and 0 <= said <= MAX_INPUT else 1
    branch, sequence = turn.place
    before = Context(
        owner_id=turn.owner_id,
        conversation_id=turn.conversation_id,
        place=(branch, sequence - 1),
    )
    return items_at(before, limit=count) if count else []


def delete_response(access: AccessContext, turn_id: uuid.UUID) -> Turn:
    """Delete the messages of the answer; its input stays in the conversation.

    Raises NotFound, NotAllowed, ReasonRequired, OnLegalHold, and TurnRunning while it runs.
    """
    turn = find_turn(message_id=turn_id, access=access)
    if turn is None:
        raise NotFound(NO_SUCH_RESPONSE)
    if not turn.ended:
        raise TurnRunning
    with transaction.atomic():
        for number, step in enumerate(turn.steps, start=1):
            calls = [call.id for call in step.calls]
            ids = [
                result_id(turn.id, number, calls.index(result.tool_call_id))
                for result in step.results
            ]
            for id_ in (*ids, step.message_id):
                delete_message(conversation_id=turn.conversation_id, message_id=id_, access=access)
    return turn
