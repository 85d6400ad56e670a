"""A turn's state as the rows tell it: the same for every process."""

from __future__ import annotations

from typing import Any

from conversations.chat.state import Step, ToolCall, ToolResult, TurnState
from conversations.models import Message
from conversations.services.turn_log import StoredStep, StoredTurn


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
        calls=[_call(call) for call in message.tool_calls or ()],
        results=[_result(result) for result in stored.results],
        prompt_tokens=message.prompt_tokens,
        completion_tokens=message.completion_tokens,
    )


def _call(call: dict[str, Any]) -> ToolCall:
    function = call.get("function", {})
    return ToolCall(str(call.get("id")), function.get("name", ""), function.get("arguments", ""))


def _result(message: Message) -> ToolResult:
    return ToolResult(message.tool_call_id or "", message.name or "", message.content)
