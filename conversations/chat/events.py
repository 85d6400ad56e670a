"""The events of a turn, in order, and which of them a client has not seen yet.

Each event has a position that follows from the turn's content alone. Any process that knows what
is stored gives the same events the same positions, so a client that tells the last one it saw
gets the rest from whoever answers.

| event | step | part | nth | data beside the ids |
|---|---|---|---|---|
| start, sources, mode | 0 | OPENING | 1, 2, 3 | the turn's messages; what was found; the mode |
| reasoning | step | TEXT | characters of the step's text before it | a piece of what it thinks |
| delta | step | TEXT | characters of the step's text up to its end | a piece of the answer |
| tool_call | step | CALL | which call of the step | arguments as the model wrote them |
| tool_result | step | RESULT | which result of the step, as they came | the result as JSON |
| done, error | 9999 | END | 0 | the whole turn (`outcome_of`); an error says why it failed |

A model may think and speak by turns, so `reasoning` and `delta` have a fourth number: the
characters of the step's reasoning up to their end.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from conversations.chat.tool_results import parsed, task_id_of
from conversations.formats import cost_as_text
from conversations.models.turn import Step, ToolResult, Turn

OPENING = TEXT = 0
CALL = 1
RESULT = 2
END = 3


class EventPosition(NamedTuple):
    """Compares as the events follow each other: both counts of characters only grow."""

    step: int
    part: int
    nth: int
    reasoning: int = 0


BEFORE_ALL = EventPosition(0, OPENING, 0)
AT_END = EventPosition(9999, END, 0)


@dataclass(frozen=True, slots=True)
class Event:
    """`data` is what a client is sent."""

    name: str
    position: EventPosition
    data: dict[str, Any]


def events_after(turn: Turn, seen: EventPosition) -> list[Event]:
    """What has happened since `seen`, in order; text since then comes as one delta a step."""
    found = [event for event in _opening(turn) if event.position > seen]
    for number, step in enumerate(turn.steps, start=1):
        if number >= seen.step:
            found += _events_of_step(turn, number, step, seen)
    if turn.ended and seen < AT_END:
        found.append(_end(turn))
    return found


def outcome_of(turn: Turn) -> dict[str, Any]:
    """The whole turn at its end. `response` is all text of all steps: every delta, joined."""
    return {
        "response": "".join(step.content for step in turn.steps),
        "conversation_id": _shown(turn, turn.conversation_id),
        "message_id": _shown(turn, turn.last.message_id),
        "stream_id": _shown(turn, turn.id),
        "actions_taken": [_action(result) for step in turn.steps for result in step.results],
        "provider": turn.provider,
        "model": turn.model,
        "status": turn.status,
        "finish_reason": turn.finish_reason,
        "sources": turn.sources,
        "detected_mode": turn.mode,
        "usage": _usage(turn),
        "latency_ms": turn.latency_ms,
        "first_token_ms": turn.first_token_ms,
    }


def _usage(turn: Turn) -> dict[str, Any]:
    """The cost is text, as messages have it."""
    usage = turn.usage
    return usage | {"cost": None if usage["cost"] is None else cost_as_text(usage["cost"])}


def _shown(turn: Turn, id_: uuid.UUID | None) -> uuid.UUID | None:
    """An id as a client is told it: none of what is not stored."""
    return id_ if turn.stored else None


def _opening(turn: Turn) -> Iterator[Event]:
    ids = {
        "conversation_id": _shown(turn, turn.conversation_id),
        "message_id": _shown(turn, turn.id),
        "user_message_id": _shown(turn, turn.user_message_id),
        "provider": turn.provider,
        "model": turn.model,
    }
    yield Event("start", EventPosition(0, OPENING, 1), ids)
    if turn.sources is not None:
        yield Event("sources", EventPosition(0, OPENING, 2), {"sources": turn.sources})
    if turn.mode is not None:
        yield Event("mode", EventPosition(0, OPENING, 3), {"mode": turn.mode})


def _events_of_step(turn: Turn, number: int, step: Step, seen: EventPosition) -> Iterator[Event]:
    message_id = _shown(turn, step.message_id)
    said, thought = _seen_of_step(number, step, seen)
    ids = {"message_id": message_id, "step": number}
    if len(step.reasoning) > thought:
        text = {"text": step.reasoning[thought:]}
        position = EventPosition(number, TEXT, said, len(step.reasoning))
        yield Event("reasoning", position, text | ids)
    if len(step.content) > said:
        text = {"text": step.content[said:]}
        position = EventPosition(number, TEXT, len(step.content), len(step.reasoning))
        yield Event("delta", position, text | ids)
    for count, call in enumerate(step.calls, start=1):
        if (position := EventPosition(number, CALL, count)) > seen:
            called = {"tool_call_id": call.id, "tool": call.tool, "arguments": call.arguments}
            yield Event("tool_call", position, {"message_id": message_id} | called)
    for count, result in enumerate(step.results, start=1):
        if (position := EventPosition(number, RESULT, count)) > seen:
            returned = {"tool_call_id": result.tool_call_id} | _action(result)
            yield Event("tool_result", position, returned)


def _seen_of_step(number: int, step: Step, seen: EventPosition) -> tuple[int, int]:
    """How many characters of the step's text and of its reasoning were seen."""
    if seen.step != number:
        return 0, 0
    if seen.part == TEXT:
        return seen.nth, seen.reasoning
    return len(step.content), len(step.reasoning)


def _end(turn: Turn) -> Event:
    if turn.succeeded:
        return Event("done", AT_END, outcome_of(turn))
    error = {"code": turn.finish_reason or turn.status, "detail": turn.error or "", "attr": None}
    failure = {"type": "server_error", "errors": [error]}
    return Event("error", AT_END, outcome_of(turn) | failure)


def _action(result: ToolResult) -> dict[str, Any]:
    """A tool that was called, and what it answered."""
    value = parsed(result.content)
    return {"tool": result.tool, "result": value, "task_id": task_id_of(value)}
