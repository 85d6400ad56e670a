"""The agent loop: a model that answers, calls tools, and answers again.

openai-agents runs it, over the chat-completions protocol that every such endpoint has; its
tracing, which would send conversations to a third party, is off. The library takes a second to
import, so only a process that runs a turn does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from conversations.chat.errors import FAILURES, TurnFailed
from conversations.chat.llm.call_ids import unique_call_id
from conversations.chat.llm.providers import Provider, client_for
from conversations.chat.tool_results import as_text, storable
from conversations.models.turn import ToolCall, ToolResult

if TYPE_CHECKING:
    from openai import AsyncOpenAI


@dataclass(frozen=True, slots=True)
class StepEnded:
    """One answer of the model is complete."""

    finish_reason: str | None
    calls: list[ToolCall]
    prompt_tokens: int | None
    completion_tokens: int | None


# A piece of text, the end of one answer, or the result of a tool that it called.
AgentEvent = str | StepEnded | ToolResult


@cache
def library() -> ModuleType:
    """openai-agents, with its tracing off."""
    import agents

    agents.set_tracing_disabled(True)
    return agents


@cache
def _client(provider: Provider) -> AsyncOpenAI:
    """One pool of connections to an endpoint, for the one event loop that uses it."""
    return client_for(provider)


async def converse(
    *,
    provider: Provider,
    model: str,
    instructions: str | None,
    history: list[dict[str, Any]],
    tools: Sequence[Any],
    mcp_servers: Sequence[Any],
    max_tool_rounds: int,
) -> AsyncGenerator[AgentEvent, None]:
    """What the model does, as it does it. `history` ends with the question.

    Raises what the client and the library raise.
    """
    agents = library()
    observed = _Observed({item["call_id"] for item in history if "call_id" in item})
    agent = agents.Agent(
        name="assistant",
        instructions=instructions,
        model=_observed_model(model, provider, observed),
        tools=list(tools),
        mcp_servers=list(mcp_servers),
        model_settings=agents.ModelSettings(include_usage=True, temperature=provider.temperature),
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


def _agent_event(event: Any, observed: _Observed) -> AgentEvent | None:
    if event.type == "run_item_stream_event" and event.name == "tool_output":
        raw = event.item.raw_item
        call_id = raw["call_id"] if isinstance(raw, dict) else raw.call_id
        return ToolResult(call_id, observed.tools.get(call_id, ""), as_text(event.item.output))
    if event.type != "raw_response_event":
        return None
    data = event.data
    if data.type in ("response.output_text.delta", "response.refusal.delta"):
        return storable(data.delta)
    if data.type == "response.completed":
        calls = [
            ToolCall(item.call_id, item.name, storable(item.arguments))
            for item in data.response.output
            if item.type == "function_call"
        ]
        observed.tools.update({call.id: call.tool for call in calls})
        return StepEnded(observed.finish_reason, calls, *observed.tokens)
    return None


@dataclass(slots=True)
class _Observed:
    """What the library does not pass on of the model's chunks, and which tool each call names.

    `call_ids` are those that the model was shown or has given.
    """

    call_ids: set[str]
    finish_reason: str | None = None
    tokens: tuple[int | None, int | None] = (None, None)
    tools: dict[str, str] = field(default_factory=dict)


class _ObservedStream:
    """The model's chunks; an end without a finish reason is a connection that broke off."""

    def __init__(self, stream: Any, observed: _Observed) -> None:
        self._stream, self._observed = stream, observed
        self._chunks = aiter(stream)
        self.response = stream.response
        self._ids: dict[int, str] = {}
        observed.finish_reason, observed.tokens = None, (None, None)

    def __aiter__(self) -> _ObservedStream:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            if self._observed.finish_reason is None:
                raise TurnFailed(FAILURES["provider_broke_off"]) from None
            raise
        for choice in chunk.choices or ():
            self._observed.finish_reason = choice.finish_reason or self._observed.finish_reason
            for call in (choice.delta and choice.delta.tool_calls) or ():
                self._make_id_unique(call)
        if usage := chunk.usage:
            self._observed.tokens = (usage.prompt_tokens, usage.completion_tokens)
        return chunk

    def _make_id_unique(self, call: Any) -> None:
        """Give each call of this answer an id that no other call of the turn has."""
        if not call.id:
            return
        if call.index not in self._ids:
            self._ids[call.index] = unique_call_id(call.id, self._observed.call_ids)
        call.id = self._ids[call.index]

    async def close(self) -> None:
        await self._stream.close()


def _observed_model(model: str, provider: Provider, observed: _Observed) -> Any:
    base = library().OpenAIChatCompletionsModel

    class ObservedModel(base):  # type: ignore[misc, valid-type]
        async def _fetch_response(self, *args: Any, **options: Any) -> Any:
            answer = await super()._fetch_response(*args, **options)
            if not isinstance(answer, tuple):
                return answer
            response, stream = answer
            return response, _ObservedStream(stream, observed)

    return ObservedModel(model, _client(provider))
