"""What openai-agents does not pass on of a model's chunks: taken from them on their way to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from conversations.chat.errors import FAILURES, TurnFailed
from conversations.chat.llm.call_ids import unique_call_id
from conversations.chat.llm.extras import add_chunk
from conversations.chat.llm.token_usage import TokenUsage, usage_from


@dataclass(slots=True)
class Observed:
    """What the model has said of its present answer, and of the turn's calls.

    `call_ids` are those that the model was shown or has given; `tools` is which tool each names.
    """

    call_ids: set[str] = field(default_factory=set)
    tools: dict[str, str] = field(default_factory=dict)
    finish_reason: str | None = None
    usage: TokenUsage = field(default_factory=TokenUsage)
    extra: dict[str, Any] = field(default_factory=dict)

    def begin_answer(self) -> None:
        self.finish_reason, self.usage, self.extra = None, TokenUsage(), {}


class _ObservedStream:
    """The model's chunks; an end without a finish reason is a connection that broke off."""

    def __init__(self, stream: Any, model: str, observed: Observed) -> None:
        self._stream, self._model, self._observed = stream, model, observed
        self._chunks = aiter(stream)
        self.response = stream.response
        self._ids: dict[int, str] = {}
        observed.begin_answer()

    def __aiter__(self) -> _ObservedStream:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            if self._observed.finish_reason is None:
                raise TurnFailed(FAILURES["provider_broke_off"]) from None
            raise
        add_chunk(self._observed.extra, chunk)
        if chunk.model and chunk.model != self._model:
            self._observed.extra["model"] = chunk.model
        for choice in chunk.choices or ():
            self._observed.finish_reason = choice.finish_reason or self._observed.finish_reason
            if choice.delta:
                self._prepare(choice.delta)
        if chunk.usage:
            self._take_usage(chunk.usage.model_dump(exclude_unset=True, warnings=False))
            chunk.usage = None  # the library fails at counts of another form
        return chunk

    def _take_usage(self, sent: dict[str, Any]) -> None:
        self._observed.usage = usage = usage_from(sent)
        if usage.beyond:
            self._observed.extra["usage"] = usage.beyond

    def _prepare(self, delta: Any) -> None:
        """As the library can read it: reasoning under one name, and nothing that it refuses."""
        name, text = _reasoning_of(delta)
        if text:
            # Some servers send the same under two names.
            delta.reasoning_content = delta.reasoning = None
            setattr(delta, name, text)
        for refused in ("annotations", "audio"):
            if getattr(delta, refused, None):
                setattr(delta, refused, None)
        for call in delta.tool_calls or ():
            self._make_id_unique(call)

    def _make_id_unique(self, call: Any) -> None:
        """Give each call of this answer an id that no other call of the turn has."""
        if not call.id:
            return
        if call.index not in self._ids:
            self._ids[call.index] = unique_call_id(call.id, self._observed.call_ids)
        call.id = self._ids[call.index]

    async def close(self) -> None:
        await self._stream.close()


def _reasoning_of(delta: Any) -> tuple[str, str]:
    """A piece of reasoning, and the name under which its server takes it back.

    DeepSeek and LiteLLM send `reasoning_content`, vLLM, Ollama and OpenRouter `reasoning`; both
    may be missing beside OpenRouter's `reasoning_details` and Anthropic's `thinking_blocks`.
    """
    for name in ("reasoning_content", "reasoning"):
        if isinstance(text := getattr(delta, name, None), str) and text:
            return name, text
    if text := "".join(_texts(getattr(delta, "reasoning_details", None), ("text", "summary"))):
        return "reasoning", text
    return "reasoning_content", "".join(
        _texts(getattr(delta, "thinking_blocks", None), ("thinking",))
    )


def _texts(items: Any, names: tuple[str, ...]) -> Iterator[str]:
    for item in items if isinstance(items, list) else ():
        for name in names:
            if isinstance(item, dict) and isinstance(item.get(name), str):
                yield item[name]


def observed_model(library: ModuleType, model: str, client: Any, observed: Observed) -> Any:
    """The library's model of that name, whose chunks fill `observed`."""
    base = library.OpenAIChatCompletionsModel

    class ObservedModel(base):  # type: ignore[misc, valid-type]
        async def _fetch_response(self, *args: Any, **options: Any) -> Any:
            answer = await super()._fetch_response(*args, **options)
            if not isinstance(answer, tuple):
                return answer
            response, stream = answer
            return response, _ObservedStream(stream, model, observed)

    return ObservedModel(model, client)
