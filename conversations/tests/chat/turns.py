"""Turns without a model: begun and written as a running turn writes them."""

from dataclasses import replace

from conversations.models.turn import Step
from conversations.services.begin_turn import begin_turn
from conversations.services.turns import open_step, record_tool_calls


def question(user, **changes):
    """The arguments of `begin_turn`."""
    return {"owner": user, "content": "Hi", "provider": "p", "model": "m"} | changes


def begin(user, **changes):
    return begin_turn(**question(user, **changes))[0]


def with_text(turn, content, **changes):
    """A copy whose last step says so."""
    last = replace(turn.last, content=content, **changes)
    return replace(turn, steps=[*turn.steps[:-1], last])


def ended(turn, status, finish_reason=None, error=None, content="", latency_ms=None):
    """A copy that has ended."""
    return replace(
        with_text(turn, content),
        status=status,
        finish_reason=finish_reason,
        error=error,
        latency_ms=latency_ms,
    )


def call_tools(turn, calls, content=""):
    turn.last.content = content
    record_tool_calls(turn=turn, calls=calls)
    turn.last.calls = calls


def next_step(turn, content=""):
    """End the step, which said so, and open the next."""
    turn.last.content = content
    turn.steps.append(Step(open_step(turn=turn)))
