"""What openai-agents does not pass on of a model's chunks: taken from them on their way to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from conversations.chat.errors import FAILURES, TurnFailed
from conversations.chat.llm.call_ids import unique_call_id
from conversations.chat.llm.extras import Json, add_chunk, objects
from conversations.chat.llm.token_usage import TokenUsage, usage_from
from conversations.chat.tool_results import storable
from conversations.formats.sdk_message import MAX_CHARS


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

    def take(self, chunk: Json, model: str) -> None:
        """What a chunk says beside text and calls, of an answer that this model was asked for."""
        add_chunk(self.extra, chunk)
        answers = chunk.get("model")
        if isinstance(answers, str) and answers not in ("", model):
            self.extra["model"] = answers
        for choice in objects(chunk.get("choices")):
            reason = choice.get("finish_reason")
            if isinstance(reason, str) and reason and not choice.get("index"):
                self.finish_reason = storable(reason)[: MAX_CHARS["finish_reason"]]
        if isinstance(sent := chunk.get("usage"), dict) and sent:
            self._take_usage(sent)

    def _take_usage(self, sent: Json) -> None:
        self.usage = usage_from(sent)
        if self.usage.beyond:
            self.extra["usage"] = self.usage.beyond


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
        self._observed.take(chunk.model_dump(exclude_unset=True, warnings=False), self._model)
        for choice in chunk.choices or ():
            if choice.delta:
                self._prepare(choice.delta)
        chunk.usage = None  # the library fails at counts of another form
        return chunk

    def _prepare(self, delta: Any) -> None:
        """As the library can read it: reasoning under one name, and nothing that it refuses."""
        name, text = reasoning_in(delta.model_dump(exclude_unset=True, warnings=False))
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


def reasoning_in(delta: Json) -> tuple[str, str]:
    """A piece of reasoning, and the name under which its server takes it back.

    DeepSeek and LiteLLM send `reasoning_content`, vLLM, Ollama and OpenRouter `reasoning`; both
    may be missing beside OpenRouter's `reasoning_details` and Anthropic's `thinking_blocks`.
    """
    for name in ("reasoning_content", "reasoning"):
        if isinstance(text := delta.get(name), str) and text:
            return name, text
    if text := "".join(_texts(delta.get("reasoning_details"), ("text", "summary"))):
        return "reasoning", text
    return "reasoning_content", "".join(_texts(delta.get("thinking_blocks"), ("thinking",)))


def _texts(items: Any, names: tuple[str, ...]) -> Iterator[str]:
    for item in objects(items):
        for name in names:
            if isinstance(item.get(name), str):
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
