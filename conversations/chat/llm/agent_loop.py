"""The agent loop: a model that answers, calls tools, and answers again.

openai-agents runs it, over the chat-completions protocol that every such endpoint has; its
tracing, which would send conversations to a third party, is off. The library takes a second to
import, so only a process that runs a turn does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from conversations.chat.errors import FAILURES, TurnFailed
from conversations.chat.llm.call_ids import CallIds
from conversations.chat.llm.providers import Provider, client_for
from conversations.chat.state import ToolCall, ToolResult
from conversations.chat.tool_results import as_text

if TYPE_CHECKING:
    from openai import AsyncOpenAI


@dataclass(frozen=True, slots=True)
class Request:
    """What the model is given. `history` ends with the question."""

    provider: Provider
    model: str
    instructions: str | None
    history: list[dict[str, Any]]
    tools: Sequence[Any] = ()
    mcp_servers: Sequence[Any] = ()
    max_tool_rounds: int = 8


@dataclass(frozen=True, slots=True)
class StepBegan:
    """The model begins to answer, for the first time or after its tools have returned."""


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class StepEnded:
    """One answer of the model is whole."""

    finish_reason: str | None
    calls: list[ToolCall]
    prompt_tokens: int | None
    completion_tokens: int | None


AgentEvent = StepBegan | Text | StepEnded | ToolResult


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


async def converse(request: Request) -> AsyncIterator[AgentEvent]:
    """What the model does, as it does it. Raises what the client and the library raise."""
    agents = library()
    watch = _Watch(CallIds(_call_ids(request.history)))
    agent = agents.Agent(
        name="assistant",
        instructions=request.instructions,
        model=_watched_model(request, watch),
        tools=list(request.tools),
        mcp_servers=list(request.mcp_servers),
        model_settings=agents.ModelSettings(
            include_usage=True, temperature=request.provider.temperature
        ),
    )
    run = agents.Runner.run_streamed(
        agent,
        request.history,
        max_turns=request.max_tool_rounds + 1,
        run_config=agents.RunConfig(
            tracing_disabled=True, tool_not_found_behavior="return_error_to_model"
        ),
    )
    try:
        async for event in run.stream_events():
            if (agent_event := _agent_event(event, watch)) is not None:
                yield agent_event
    finally:
        run.cancel()


def _call_ids(history: Sequence[dict[str, Any]]) -> Iterator[str]:
    return (item["call_id"] for item in history if "call_id" in item)


def _agent_event(event: Any, watch: _Watch) -> AgentEvent | None:
    if event.type == "raw_response_event":
        return _of_model(event.data, watch)
    if event.type == "run_item_stream_event" and event.name == "tool_output":
        return _returned(event.item, watch)
    return None


def _of_model(event: Any, watch: _Watch) -> AgentEvent | None:
    if event.type == "response.created":
        return StepBegan()
    if event.type in ("response.output_text.delta", "response.refusal.delta"):
        return Text(event.delta)
    if event.type == "response.completed":
        calls = [_call(item) for item in event.response.output if item.type == "function_call"]
        watch.names.update({call.id: call.tool for call in calls})
        return StepEnded(watch.finish_reason, calls, *watch.tokens)
    return None


def _call(item: Any) -> ToolCall:
    return ToolCall(item.call_id, item.name, item.arguments)


def _returned(item: Any, watch: _Watch) -> ToolResult:
    raw = item.raw_item
    call_id = raw["call_id"] if isinstance(raw, dict) else raw.call_id
    return ToolResult(call_id, watch.names.get(call_id, ""), as_text(item.output))


@dataclass(slots=True)
class _Watch:
    """What the library does not hand on of the model's stream."""

    call_ids: CallIds
    finish_reason: str | None = None
    tokens: tuple[int | None, int | None] = (None, None)
    names: dict[str, str] = field(default_factory=dict)

    def see(self, chunk: Any) -> None:
        for choice in chunk.choices or ():
            self.finish_reason = choice.finish_reason or self.finish_reason
        if usage := chunk.usage:
            self.tokens = (usage.prompt_tokens, usage.completion_tokens)


class _WatchedStream:
    """The model's chunks; an end without a finish reason is a connection that broke off."""

    def __init__(self, stream: Any, watch: _Watch) -> None:
        self._stream, self._watch = stream, watch
        self._chunks = aiter(stream)
        self.response = stream.response
        self._ids: dict[int, str] = {}
        watch.finish_reason, watch.tokens = None, (None, None)

    def __aiter__(self) -> _WatchedStream:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            if self._watch.finish_reason is None:
                raise TurnFailed(FAILURES["provider_broke_off"]) from None
            raise
        self._watch.see(chunk)
        self._tell_calls_apart(chunk)
        return chunk

    def _tell_calls_apart(self, chunk: Any) -> None:
        """Give each call of this answer an id that no other call of the turn has."""
        for choice in chunk.choices or ():
            for call in (choice.delta and choice.delta.tool_calls) or ():
                if not call.id:
                    continue
                if call.index not in self._ids:
                    self._ids[call.index] = self._watch.call_ids.unique(call.id)
                call.id = self._ids[call.index]

    async def close(self) -> None:
        await self._stream.close()


def _watched_model(request: Request, watch: _Watch) -> Any:
    base = library().OpenAIChatCompletionsModel

    class WatchedModel(base):  # type: ignore[misc, valid-type]
        async def _fetch_response(self, *args: Any, **options: Any) -> Any:
            answer = await super()._fetch_response(*args, **options)
            if not isinstance(answer, tuple):
                return answer
            response, stream = answer
            return response, _WatchedStream(stream, watch)

    return WatchedModel(request.model, _client(request.provider))
