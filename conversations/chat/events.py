"""What happens in a turn, as plain values: they know no storage and no HTTP.

Each event has a position that follows from the turn's content alone: step, part and count. Any
process that knows what is stored gives the same events the same positions, so a client that
tells the last one it saw gets the rest from whoever answers.

| part | count | event |
|---|---|---|
| 0-OPENING (step 0) | 1, 2, 3 | start, sources, mode |
| TEXT | characters of the step's text up to the end of this delta | delta |
| CALL | which call of the step | tool_call |
| RESULT | which result of the step, as they came | tool_result |
| END (step 9999) | 0 | done, error |
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

OPENING = TEXT = 0
CALL = 1
RESULT = 2
END = 3


class Position(NamedTuple):
    """Where an event stands in its turn. Compares as the events follow each other."""

    step: int
    part: int
    nth: int


NOWHERE = Position(0, OPENING, 0)
AT_START = Position(0, OPENING, 1)
AT_SOURCES = Position(0, OPENING, 2)
AT_MODE = Position(0, OPENING, 3)
AT_END = Position(9999, END, 0)


@dataclass(frozen=True, slots=True)
class Start:
    """The question is stored. `message_id` names the turn's stream from here on."""

    name: ClassVar[str] = "start"
    position: Position
    conversation_id: uuid.UUID
    message_id: uuid.UUID
    user_message_id: uuid.UUID | None
    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Sources:
    name: ClassVar[str] = "sources"
    position: Position
    sources: list[Any]


@dataclass(frozen=True, slots=True)
class Mode:
    name: ClassVar[str] = "mode"
    position: Position
    mode: str


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer. `message_id` is the message that this step's text is stored in."""

    name: ClassVar[str] = "delta"
    position: Position
    message_id: uuid.UUID
    text: str


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The model calls a tool; `arguments` as the model wrote them, which may not be JSON."""

    name: ClassVar[str] = "tool_call"
    position: Position
    message_id: uuid.UUID
    tool_call_id: str
    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolReturned:
    name: ClassVar[str] = "tool_result"
    position: Position
    tool_call_id: str
    tool: str
    result: Any
    task_id: str | None


@dataclass(frozen=True, slots=True)
class Action:
    """A tool that was called, and what it answered."""

    tool: str
    result: Any
    task_id: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The whole turn at its end. `response` is all text of all steps: every delta, joined."""

    response: str
    conversation_id: uuid.UUID
    message_id: uuid.UUID
    stream_id: uuid.UUID
    actions_taken: list[Action]
    provider: str
    model: str
    status: str
    finish_reason: str | None
    sources: list[Any] | None
    detected_mode: str | None
    usage: dict[str, int | None]
    latency_ms: int | None
    first_token_ms: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """The answer is stored, whole or stopped."""

    name: ClassVar[str] = "done"
    position: Position
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Failed:
    """The turn failed or was interrupted; `outcome` has what came before."""

    name: ClassVar[str] = "error"
    position: Position
    code: str
    detail: str
    outcome: Outcome


Event = Start | Sources | Mode | Delta | ToolCalled | ToolReturned | Done | Failed
