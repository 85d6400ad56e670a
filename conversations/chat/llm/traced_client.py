"""Spans of model calls by the semantic conventions of OpenTelemetry for generative AI (gen_ai.…).

Imported only where traces are sent. The content of messages is added only with
OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from conversations.chat.llm.providers import Provider

if TYPE_CHECKING:
    from openai import AsyncOpenAI

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
# As the conventions name the providers that they know.
KNOWN = {"api.openai.com": "openai"}
# Options of a request that the conventions have.
OPTIONS = ("temperature", "top_p", "max_tokens", "seed")
Create = Callable[..., Awaitable[Any]]


def traced(client: AsyncOpenAI, provider: Provider, tracer: Tracer) -> AsyncOpenAI:
    """The client, whose chat completions and embeddings are spans of the caller's trace."""
    resources: Any = {"chat": client.chat.completions, "embeddings": client.embeddings}
    for operation, resource in resources.items():
        resource.create = _traced(operation, resource.create, provider, tracer)
    return client


def _traced(operation: str, create: Create, provider: Provider, tracer: Tracer) -> Create:
    async def traced_create(**options: Any) -> Any:
        call = ModelCall(operation, options, provider, tracer)
        try:
            answer = await create(**options)
        except BaseException as error:
            call.end(error)
            raise
        if options.get("stream") is True:
            return _TracedStream(answer, call)
        call.take(answer)
        call.end()
        return answer

    return traced_create


class ModelCall:
    """The span of one call."""

    def __init__(
        self, operation: str, options: dict[str, Any], provider: Provider, tracer: Tracer
    ) -> None:
        url, model = urlsplit(provider.base_url), str(options.get("model", ""))
        self.captures = os.environ.get(CAPTURE, "").lower() == "true"
        self._reasons: list[str] = []
        self._text: list[str] = []
        self._span: Span = tracer.start_span(f"{operation} {model}", kind=SpanKind.CLIENT)
        self._set("gen_ai.operation.name", operation)
        self._set("gen_ai.provider.name", KNOWN.get(url.hostname or "", provider.name))
        self._set("gen_ai.request.model", model)
        self._set("server.address", url.hostname)
        self._set("server.port", url.port)
        for name in OPTIONS:
            if isinstance(value := options.get(name), int | float):
                self._set(f"gen_ai.request.{name}", value)
        if self.captures and operation == "chat":
            self._set("gen_ai.input.messages", _as_messages(options.get("messages", ())))

    def take(self, answer: Any) -> None:
        """An answer, or a piece of one: an object of the client's, or JSON."""
        self._set("gen_ai.response.id", _of(answer, "id"))
        self._set("gen_ai.response.model", _of(answer, "model"))
        if usage := _of(answer, "usage"):
            self._set("gen_ai.usage.input_tokens", _of(usage, "prompt_tokens"))
            self._set("gen_ai.usage.output_tokens", _of(usage, "completion_tokens"))
        choices = _of(answer, "choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(reason := _of(choice, "finish_reason"), str):
                self._reasons.append(reason)
            said = _of(choice, "delta") or _of(choice, "message")
            if self.captures and isinstance(text := _of(said, "content"), str):
                self._text.append(text)

    def end(self, error: BaseException | None = None) -> None:
        """Once or more often: the first time counts."""
        if not self._span.is_recording():
            return
        if self._reasons:
            self._span.set_attribute("gen_ai.response.finish_reasons", self._reasons)
        if self._text:
            said = [{"role": "assistant", "content": "".join(self._text)}]
            self._set("gen_ai.output.messages", _as_messages(said))
        if error is not None:
            self._set("error.type", type(error).__name__)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def _set(self, name: str, value: Any) -> None:
        if isinstance(value, str | int | float) and value != "":
            self._span.set_attribute(name, value)


class _TracedStream:
    """The stream of an answer, which ends the span with itself."""

    def __init__(self, stream: Any, call: ModelCall) -> None:
        self._stream, self._call = stream, call
        self._chunks = aiter(stream)
        self.response = stream.response

    def __aiter__(self) -> _TracedStream:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._call.end()
            raise
        except BaseException as error:
            self._call.end(error)
            raise
        self._call.take(chunk)
        return chunk

    async def close(self) -> None:
        self._call.end()
        await self._stream.close()


def _of(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def _as_messages(messages: Iterable[Any]) -> str:
    """The conventions' form: a role, and parts of text."""
    found = []
    for message in messages:
        content = message.get("content")
        text = content if isinstance(content, str) else json.dumps(content, default=str)
        found.append(
            {"role": message.get("role"), "parts": [{"type": "text", "content": text or ""}]}
        )
    return json.dumps(found, ensure_ascii=False)
