"""A turn as far as it has come, and the events of it that a client has not seen yet."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from conversations.chat import events
from conversations.chat.events import CALL, RESULT, TEXT, Event, Position
from conversations.chat.tool_results import parsed, task_id_of
from conversations.models import Message
from conversations.selectors.turn_log import StoredStep, StoredTurn

STREAMING = "streaming"
GOOD_ENDS = ("complete", "stopped")


@dataclass(slots=True)
class ToolCall:
    id: str
    tool: str
    arguments: str


@dataclass(slots=True)
class ToolResult:
    tool_call_id: str
    tool: str
    content: str


@dataclass(slots=True)
class Step:
    """One answer of the model: its text, the tools it calls, what those returned so far."""

    message_id: uuid.UUID
    content: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(slots=True)
class TurnState:
    """Grows only: text is appended, steps and results are added, and at last it ends."""

    turn_id: uuid.UUID
    conversation_id: uuid.UUID
    user_message_id: uuid.UUID | None
    provider: str
    model: str
    steps: list[Step]
    sources: list[Any] | None = None
    mode: str | None = None
    status: str = STREAMING
    finish_reason: str | None = None
    error: str | None = None
    latency_ms: int | None = None
    first_token_ms: int | None = None

    @property
    def ended(self) -> bool:
        return self.status != STREAMING

    @property
    def last(self) -> Step:
        return self.steps[-1]

    def outcome(self) -> events.Outcome:
        return events.Outcome(
            response="".join(step.content for step in self.steps),
            conversation_id=self.conversation_id,
            message_id=self.last.message_id,
            stream_id=self.turn_id,
            actions_taken=[_action(result) for step in self.steps for result in step.results],
            provider=self.provider,
            model=self.model,
            status=self.status,
            finish_reason=self.finish_reason,
            sources=self.sources,
            detected_mode=self.mode,
            usage={
                "prompt_tokens": _sum(step.prompt_tokens for step in self.steps),
                "completion_tokens": _sum(step.completion_tokens for step in self.steps),
            },
            latency_ms=self.latency_ms,
            first_token_ms=self.first_token_ms,
        )


def events_after(state: TurnState, seen: Position) -> list[Event]:
    """What has happened since `seen`, in order; text since then comes as one delta a step."""
    found = [event for event in _opening(state) if event.position > seen]
    for number, step in enumerate(state.steps, start=1):
        if number >= seen.step:
            found += _of_step(number, step, seen)
    if state.ended and seen < events.AT_END:
        found.append(_ending(state))
    return found


def _opening(state: TurnState) -> Iterator[Event]:
    yield events.Start(
        events.AT_START,
        state.conversation_id,
        state.turn_id,
        state.user_message_id,
        state.provider,
        state.model,
    )
    if state.sources is not None:
        yield events.Sources(events.AT_SOURCES, state.sources)
    if state.mode is not None:
        yield events.Mode(events.AT_MODE, state.mode)


def _of_step(number: int, step: Step, seen: Position) -> Iterator[Event]:
    start = 0
    if seen.step == number:
        start = seen.nth if seen.part == TEXT else len(step.content)
    if len(step.content) > start:
        place = Position(number, TEXT, len(step.content))
        yield events.Delta(place, step.message_id, step.content[start:])
    for count, call in enumerate(step.calls, start=1):
        if (place := Position(number, CALL, count)) > seen:
            yield events.ToolCalled(place, step.message_id, call.id, call.tool, call.arguments)
    for count, result in enumerate(step.results, start=1):
        if (place := Position(number, RESULT, count)) > seen:
            value = parsed(result.content)
            yield events.ToolReturned(
                place, result.tool_call_id, result.tool, value, task_id_of(value)
            )


def _ending(state: TurnState) -> Event:
    if state.status in GOOD_ENDS:
        return events.Done(events.AT_END, state.outcome())
    return events.Failed(
        events.AT_END, state.finish_reason or state.status, state.error or "", state.outcome()
    )


def _action(result: ToolResult) -> events.Action:
    value = parsed(result.content)
    return events.Action(result.tool, value, task_id_of(value))


def _sum(counts: Iterator[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def state_of(turn: StoredTurn) -> TurnState:
    """A turn as its rows tell it: the same for every process."""
    last = turn.last
    firsts = (step.message.first_token_ms for step in turn.steps)
    return TurnState(
        turn_id=turn.id,
        conversation_id=turn.conversation_id,
        user_message_id=turn.user_message_id,
        provider=last.provider,
        model=last.model,
        steps=[_stored_step(step) for step in turn.steps],
        sources=last.sources,
        mode=last.detected_mode,
        status=last.status,
        finish_reason=last.finish_reason,
        error=last.error,
        latency_ms=last.latency_ms,
        first_token_ms=next((first for first in firsts if first is not None), None),
    )


def _stored_step(stored: StoredStep) -> Step:
    message = stored.message
    return Step(
        message_id=message.id,
        content=message.content,
        calls=[call_of(call) for call in message.tool_calls or ()],
        results=[_stored_result(result) for result in stored.results],
        prompt_tokens=message.prompt_tokens,
        completion_tokens=message.completion_tokens,
    )


def call_of(call: object) -> ToolCall:
    """A call in OpenAI's shape; of another shape, which older rows may hold, what fits it."""
    call = call if isinstance(call, dict) else {}
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    return ToolCall(
        _text(call.get("id")), _text(function.get("name")), _text(function.get("arguments"))
    )


def _text(value: object) -> str:
    """Text as it is, anything else as its JSON: some clients send arguments as an object."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _stored_result(message: Message) -> ToolResult:
    return ToolResult(message.tool_call_id or "", message.name or "", message.content)
