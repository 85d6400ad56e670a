"""The agent loop: a model that answers, calls tools, and answers again.

openai-agents runs it, over the chat-completions protocol that every such endpoint has; its
tracing, which would send conversations to a third party, is off. The library takes a second to
import, so only a process that runs a turn does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from conversations.chat.llm.observed_model import Observed, observed_model
from conversations.chat.llm.providers import Provider, shared_client
from conversations.chat.question import Question
from conversations.chat.tool_results import as_text, storable
from conversations.models.turn import ToolCall, ToolResult


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of what the model thinks."""

    text: str


@dataclass(frozen=True, slots=True)
class StepEnded:
    """One answer of the model is complete; `Observed` has what else the model said of it."""

    calls: list[ToolCall]


# A piece of text or of reasoning, the end of one answer, or the result of a tool that it called.
AgentEvent = str | Reasoning | StepEnded | ToolResult


@cache
def library() -> ModuleType:
    """openai-agents, with its tracing off."""
    import agents

    agents.set_tracing_disabled(True)
    return agents


async def converse(
    *,
    provider: Provider,
    model: str,
    instructions: str | None,
    history: list[dict[str, Any]],
    tools: Sequence[Any],
    mcp_servers: Sequence[Any],
    question: Question,
    max_tool_rounds: int,
    observed: Observed,
) -> AsyncGenerator[AgentEvent, None]:
    """What the model does, as it does it. `history` ends with the question, whose options count.

    `observed` is filled meanwhile. Raises what the client and the library raise.
    """
    agents = library()
    observed.call_ids |= {item["call_id"] for item in history if "call_id" in item}
    temperature = question.temperature
    agent = _agent_with(question.tools)(
        name="assistant",
        instructions=instructions,
        model=observed_model(agents, model, shared_client(provider), observed),
        tools=list(tools),
        mcp_servers=list(mcp_servers),
        model_settings=agents.ModelSettings(
            include_usage=True,
            temperature=provider.temperature if temperature is None else temperature,
            max_tokens=question.max_tokens,
        ),
    )
    run = agents.Runner.run_streamed(
        agent,
        history,
        max_turns=max_tool_rounds + 1,
        run_config=agents.RunConfig(
            tracing_disabled=True, tool_not_found_behavior="return_error_to_model"
        ),
    )
    try:
        async for event in run.stream_events():
            if (agent_event := _agent_event(event, observed)) is not None:
                yield agent_event
    finally:
        run.cancel()


def _agent_with(names: Sequence[str] | None) -> Any:
    """The library's agent, with the tools of these names alone, of MCP servers too."""
    base = library().Agent
    if names is None:
        return base
    allowed = frozenset(names)

    class AgentWithFewTools(base):  # type: ignore[misc, valid-type]
        async def get_all_tools(self, run_context: Any) -> list[Any]:
            found = await super().get_all_tools(run_context)
            return [tool for tool in found if tool.name in allowed]

    return AgentWithFewTools


def _agent_event(event: Any, observed: Observed) -> AgentEvent | None:
    if event.type == "run_item_stream_event" and event.name == "tool_output":
        raw = event.item.raw_item
        call_id = raw["call_id"] if isinstance(raw, dict) else raw.call_id
        return ToolResult(call_id, observed.tools.get(call_id, ""), as_text(event.item.output))
    if event.type != "raw_response_event":
        return None
    data = event.data
    if data.type in ("response.output_text.delta", "response.refusal.delta"):
        return storable(data.delta)
    if data.type in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
        return Reasoning(storable(data.delta))
    if data.type == "response.completed":
        calls = [
            ToolCall(item.call_id, item.name, storable(item.arguments))
            for item in data.response.output
            if item.type == "function_call"
        ]
        observed.tools.update({call.id: call.tool for call in calls})
        return StepEnded(calls)
    return None
