"""A turn's state as the rows tell it: the same for every process."""

from __future__ import annotations

import json

from conversations.chat.state import Step, ToolCall, ToolResult, TurnState
from conversations.models import Message
from conversations.selectors.turn_log import StoredStep, StoredTurn


def state_of(turn: StoredTurn) -> TurnState:
    last = turn.last
    firsts = (step.message.first_token_ms for step in turn.steps)
    return TurnState(
        turn_id=turn.id,
        conversation_id=turn.conversation_id,
        user_message_id=turn.user_message_id,
        provider=last.provider,
        model=last.model,
        steps=[_step(step) for step in turn.steps],
        sources=last.sources,
        mode=last.detected_mode,
        status=last.status,
        finish_reason=last.finish_reason,
        error=last.error,
        latency_ms=last.latency_ms,
        first_token_ms=next((first for first in firsts if first is not None), None),
    )


def _step(stored: StoredStep) -> Step:
    message = stored.message
    return Step(
        message_id=message.id,
        content=message.content,
        calls=[call_of(call) for call in message.tool_calls or ()],
        results=[_result(result) for result in stored.results],
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


def _result(message: Message) -> ToolResult:
    return ToolResult(message.tool_call_id or "", message.name or "", message.content)
