"""POST /v1/chat/completions: passed through to a provider, and recorded."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, ClassVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from conversations.api import parameters
from conversations.api.fields import reader
from conversations.api.openai.completion_shapes import (
    ChatCompletionRequestSerializer,
    CompletionSerializer,
)
from conversations.api.openai.owners import owner_named
from conversations.api.openai.recorded_chat import chat_named, task_named
from conversations.api.openai.shapes import OWNER_HEADER, OpenAIErrorSerializer
from conversations.api.openai.stored_completions import StoredCompletionViewSet
from conversations.api.openai.turn_answers import (
    error_of,
    event_answer,
    failed_answer,
    headers_of,
    whole_answer,
)
from conversations.api.sse import KEEP_ALIVE, MEDIA_TYPE
from conversations.api.views import NOT_AN_OBJECT, idempotency_key_of
from conversations.api.waiting import answer_later
from conversations.chat.errors import failure_named
from conversations.chat.forwarding.chat_chunks import chunks_of
from conversations.chat.forwarding.chat_completions import complete, complete_unstored
from conversations.chat.forwarding.forwarded_turn import ForwardedTurn
from conversations.chat.forwarding.upstream import dumps
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.chat.turn import owner_to_ask_for
from conversations.formats.chat_completion import completion_of
from conversations.models import Status
from conversations.models.turn import Turn
from conversations.selectors.completions import completion_row
from conversations.services.validators import check_metadata

NO_MESSAGES = "At least one message is needed."
# Each is compared with what is stored.
MAX_MESSAGES = 10_000
MANY_MESSAGES = f"At most {MAX_MESSAGES:,} messages."
DONE = b"data: [DONE]\n\n"

Json = dict[str, Any]


def read_chat_request(request: Request) -> Json:
    """The body as it was sent, once what is read here is checked. Raises ValidationError."""
    body = request.data
    if not isinstance(body, dict):
        raise serializers.ValidationError([serializers.ErrorDetail(NOT_AN_OBJECT, "not_an_object")])
    serializer = reader(ChatCompletionRequestSerializer)
    serializer.run_validation({name: body[name] for name in serializer.fields if name in body})
    check_metadata(body.get("metadata") or {})
    if not body["messages"]:
        detail = serializers.ErrorDetail(NO_MESSAGES, "empty")
        raise serializers.ValidationError({"messages": [detail]})
    if len(body["messages"]) > MAX_MESSAGES:
        detail = serializers.ErrorDetail(MANY_MESSAGES, "max_length")
        raise serializers.ValidationError({"messages": [detail]})
    return body


@extend_schema(tags=["openai"])
class ChatCompletionViewSet(StoredCompletionViewSet):
    throttle_kinds: ClassVar[dict[str, str]] = {"create": "chat"}

    @extend_schema(
        operation_id="openai_chat_completions_create",
        summary="Ask a model, as OpenAI's API is asked; what is new is recorded",
        description=(
            "The body is passed through to the provider, whatever is in it; the answer likewise, "
            "whole or with `stream` as events that end with `[DONE]`. `X-Conversation-Id` is that "
            "of the conversation. A client that leaves ends the answer, of which the record keeps "
            "what had come."
        ),
        parameters=[OWNER_HEADER, parameters.IDEMPOTENCY_KEY],
        request=ChatCompletionRequestSerializer,
        responses={
            (200, "application/json"): CompletionSerializer,
            (200, MEDIA_TYPE): OpenApiTypes.STR,
            **{
                status: OpenApiResponse(OpenAIErrorSerializer, description=text)
                for status, text in {
                    429: "The provider's own answer, as are 400, 404, 413 and 422.",
                    502: "The provider failed.",
                    504: "It did not answer in time.",
                }.items()
            },
        },
    )
    def create(self, request: Request) -> HttpResponseBase:
        body = read_chat_request(request)
        streams = bool(body.get("stream"))
        begun, is_new = self._begin(request, body)
        if not (is_new and isinstance(begun, ForwardedTurn)):
            return self._again(begun, body)
        if streams:
            return answer_later(self, begun.begins, lambda begins: _streamed(begun, begins))
        return answer_later(self, begun.answer, lambda answer: _whole(begun, answer))

    def _begin(self, request: Request, body: Json) -> tuple[WatchedTurn, bool]:
        chat = chat_named(request, body)
        user = owner_named(request, self.access, body)
        owner = owner_to_ask_for(self.access, user, chat.conversation_id)
        if body.get("store") is False:
            return complete_unstored(owner=owner, body=body), True
        return complete(
            owner=owner,
            chat=chat,
            body=body,
            task=task_named(request, body),
            key=idempotency_key_of(request),
        )

    def _again(self, watched: WatchedTurn, body: Json) -> HttpResponseBase:
        """The answer to an earlier request with the same key, waited for if it still comes."""

        def answer(turn: Turn) -> HttpResponseBase:
            row = completion_row(*turn.pk)
            if row is None or turn.status == Status.FAILED:
                return failed_answer(failure_named(turn.finish_reason), turn)
            return _stored(completion_of(row), turn, body)

        return answer_later(self, watched.result, answer)


def _whole(forwarded: ForwardedTurn, answer: Json | None) -> HttpResponseBase:
    turn = forwarded.turn
    if (failure := forwarded.failure) is not None:
        return failed_answer(failure, turn)
    return whole_answer(answer or _stopped(forwarded), turn)


def _streamed(forwarded: ForwardedTurn, begins: bool) -> HttpResponseBase:
    failure = forwarded.failure
    if not begins and failure is not None:
        return failed_answer(failure, forwarded.turn)
    return event_answer(_frames(forwarded), forwarded.turn, forwarded.client_left)


async def _frames(forwarded: ForwardedTurn) -> AsyncGenerator[bytes, None]:
    async with aclosing(forwarded.chunks()) as chunks:
        async for chunk in chunks:
            yield KEEP_ALIVE if chunk is None else frame(chunk)
    if (failure := forwarded.failure) is not None:
        yield frame(error_of(failure))
        return
    if forwarded.turn.status == Status.STOPPED:
        yield frame(chunks_of(_stopped(forwarded))[-1])
    yield DONE


def frame(data: Json) -> bytes:
    return b"data: " + dumps(data) + b"\n\n"


def _stopped(forwarded: ForwardedTurn) -> Json:
    """The answer of a turn that was stopped before the provider gave one."""
    message = {"role": "assistant", "content": "", "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {
        "id": forwarded.answer_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": forwarded.turn.model,
        "choices": [choice],
    }


def _stored(completion: Json, turn: Turn, body: Json) -> HttpResponseBase:
    """An answer of an earlier request, in the form that this one asks for."""
    if not body.get("stream"):
        return whole_answer(completion, turn)
    options = body.get("stream_options") or {}
    chunks = chunks_of(completion)
    if not options.get("include_usage"):
        chunks = [chunk for chunk in chunks if chunk["choices"]]
    content = b"".join([*map(frame, chunks), DONE])
    return HttpResponse(content, content_type=MEDIA_TYPE, headers=headers_of(turn))
