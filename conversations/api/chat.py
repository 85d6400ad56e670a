"""Turns over HTTP: /api/chat, its event streams, and how one is stopped."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api import parameters
from conversations.api.authentication import TicketAuthentication, refuse_cross_site
from conversations.api.fields import (
    CostField,
    ListField,
    reader,
)
from conversations.api.questions import AskedByQuerySerializer, QuestionSerializer
from conversations.api.serializers import ErrorSerializer
from conversations.api.sse import MEDIA_TYPE, seen_by, stream_of
from conversations.api.stream_events import event_responses
from conversations.api.views import ApiViewSet, idempotency_key_of, read_body, uuid_of
from conversations.api.waiting import answer_later
from conversations.chat.errors import failure_named
from conversations.chat.events import AT_END, BEFORE_ALL, EventPosition, outcome_of
from conversations.chat.question import OPTIONS, Question
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.chat.turn import ask, join, regenerate, stop
from conversations.models import Message, TicketPurpose
from conversations.models.turn import Turn
from conversations.services import InvalidValue, owner_to_write_for


class ActionSerializer(serializers.Serializer[Any]):
    tool = serializers.CharField()
    result = serializers.JSONField(help_text="JSON, or text where the tool gave no JSON.")
    task_id = serializers.CharField(allow_null=True)


class UsageSerializer(serializers.Serializer[Any]):
    prompt_tokens = serializers.IntegerField(allow_null=True)
    completion_tokens = serializers.IntegerField(allow_null=True)
    cached_tokens = serializers.IntegerField(allow_null=True)
    reasoning_tokens = serializers.IntegerField(allow_null=True)
    cost = CostField()


class ChatResponseSerializer(serializers.Serializer[Any]):
    """A turn at its end."""

    response = serializers.CharField(help_text="All text of the turn: its deltas, joined.")
    conversation_id = serializers.UUIDField(
        allow_null=True, help_text="This and the next two are null with `store: false`."
    )
    message_id = serializers.UUIDField(
        allow_null=True, help_text="The message that holds the answer."
    )
    stream_id = serializers.UUIDField(
        allow_null=True, help_text="Names the turn in /api/chat/streams/."
    )
    actions_taken = ActionSerializer(many=True)
    provider = serializers.CharField()
    model = serializers.CharField()
    status = serializers.ChoiceField(choices=["complete", "stopped"])
    finish_reason = serializers.CharField(allow_null=True)
    sources = ListField(allow_null=True)
    detected_mode = serializers.CharField(allow_null=True)
    usage = UsageSerializer()
    latency_ms = serializers.IntegerField(allow_null=True)
    first_token_ms = serializers.IntegerField(allow_null=True)


class StopSerializer(serializers.Serializer[Any]):
    status = serializers.CharField(help_text="`stopping`, or the status that it ended with.")
    message_id = serializers.UUIDField()


class TurnError(exceptions.APIException):
    """A turn that failed. The answer names its ids where the question is stored."""

    def __init__(self, turn: Turn, retry_after: int | None) -> None:
        failure = failure_named(turn.finish_reason)
        super().__init__(turn.error or failure.text, turn.finish_reason or failure.code)
        self.status_code = failure.status
        if retry_after is not None:
            self.wait = retry_after
        if turn.stored:
            self.extra = {"conversation_id": turn.conversation_id, "message_id": turn.id}


_OF_QUESTION = ("parts", "regenerate", *OPTIONS)
_IN_BODY: Mapping[str, str] = {}
_IN_QUERY = {"message": "question", "conversation_id": "session_id"}

_EVENTS = event_responses(ChatResponseSerializer)
_LAST_EVENT_ID = OpenApiParameter(
    "Last-Event-ID",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The last event seen: the stream goes on after it.",
)
_TICKET = OpenApiParameter(
    "ticket",
    OpenApiTypes.STR,
    description="Instead of a token: from `POST /api/chat/tickets`, good once.",
)
_STREAM = OpenApiParameter(
    "message_id",
    OpenApiTypes.UUID,
    OpenApiParameter.PATH,
    description="An answer's message, or the `stream_id` of its turn.",
)


@extend_schema(tags=["chat"])
class ChatViewSet(ApiViewSet):
    queryset = Message.objects.none()
    serializer_class = ChatResponseSerializer
    # Both run a turn; joining one is a read, stopping one a write.
    throttle_kinds = {"create": "chat", "ask_stream": "chat"}
    query_names = {
        "ask_stream": {"question", "session_id", "provider", "model", "key", "ticket"}
        | {"parent_id", "regenerate"},
        "stream": {"ticket"},
    }
    # The actions that a ticket opens, and which ticket.
    ticket_purposes: ClassVar[dict[str, TicketPurpose]] = {
        "ask_stream": TicketPurpose.ASK_STREAM,
        "stream": TicketPurpose.STREAM,
    }

    def get_authenticators(self) -> list[BaseAuthentication]:
        ticketed = self.ticket_purposes.keys() & set((self.action_map or {}).values())
        return [*([TicketAuthentication()] if ticketed else []), *super().get_authenticators()]

    @property
    def streamed_message(self) -> uuid.UUID | None:
        """The answer that the path names, if it does."""
        named = self.kwargs.get("message_id")
        return None if named is None else uuid_of(named, "message_id")

    @extend_schema(
        operation_id="chat",
        summary="Ask a model; the answer as JSON, or with Accept: text/event-stream as events",
        description=(
            "The question is stored before the model is asked. Without `conversation_id` a new "
            "conversation is started. With `parent_id` it follows that message, on a new branch "
            "where something follows already; with `regenerate` an answer is given again, beside "
            "the earlier one. A provider that fails answers 502, 503 or 504; the body then names "
            "`conversation_id` and `message_id`."
        ),
        parameters=[parameters.IDEMPOTENCY_KEY],
        request=QuestionSerializer,
        responses={
            (200, "application/json"): ChatResponseSerializer,
            (200, MEDIA_TYPE): _EVENTS,
            502: OpenApiResponse(ErrorSerializer, description="The model's server failed."),
            504: OpenApiResponse(ErrorSerializer, description="It did not answer in time."),
        },
    )
    def create(self, request: Request) -> HttpResponseBase:
        body = read_body(request, QuestionSerializer)
        watched = self._ask(body, idempotency_key_of(request))
        if MEDIA_TYPE in request.headers.get("Accept", ""):
            return stream_of(watched)
        return self._at_end(watched)

    @extend_schema(
        operation_id="chat_ask_stream",
        summary="Ask a model with an EventSource",
        description=(
            "The same turn as events. An EventSource that reconnects sends "
            "Last-Event-ID: it gets the rest of its turn, and the model is not asked again."
        ),
        parameters=[
            OpenApiParameter(
                "question", OpenApiTypes.STR, description="Required without `regenerate`."
            ),
            OpenApiParameter("session_id", OpenApiTypes.UUID, description="The conversation."),
            OpenApiParameter("parent_id", OpenApiTypes.STR, description="As for POST /api/chat."),
            OpenApiParameter("regenerate", OpenApiTypes.UUID, description="The same."),
            OpenApiParameter("provider", OpenApiTypes.STR),
            OpenApiParameter("model", OpenApiTypes.STR),
            OpenApiParameter(
                "key", OpenApiTypes.STR, description="What Idempotency-Key is to POST /api/chat."
            ),
            _TICKET,
            _LAST_EVENT_ID,
        ],
        responses={
            (200, MEDIA_TYPE): _EVENTS,
            204: OpenApiResponse(description="All events were received before."),
        },
    )
    def ask_stream(self, request: Request) -> HttpResponseBase:
        if isinstance(request.successful_authenticator, SessionAuthentication):
            refuse_cross_site(request)
        if seen := seen_by(request):
            return self._go_on(seen[0], seen[1])
        names = request.query_params.keys() - {"ticket"}
        query = {name: request.query_params[name] for name in names}
        body = dict(reader(AskedByQuerySerializer).run_validation(query))
        key = body.pop("key", None)
        if "question" in body:
            body["message"] = body.pop("question")
        body["conversation_id"] = body.pop("session_id", None)
        return stream_of(self._ask(body, key, _IN_QUERY))

    @extend_schema(
        operation_id="chat_stream",
        summary="Join a turn, the server's or an application's, on any process",
        description=(
            "As events; with `Accept: application/json` the turn at its end, waited for, as "
            "`POST /api/chat` answers it."
        ),
        parameters=[_STREAM, _TICKET, _LAST_EVENT_ID],
        responses={
            (200, MEDIA_TYPE): _EVENTS,
            (200, "application/json"): ChatResponseSerializer,
            204: OpenApiResponse(description="All events were received before."),
        },
    )
    def stream(self, request: Request, message_id: str) -> HttpResponseBase:
        stream_id, seen = uuid_of(message_id, "message_id"), seen_by(request)
        if request.headers.get("Accept") == "application/json":
            return self._at_end(join(access=self.access, message_id=stream_id))
        return self._go_on(stream_id, seen[1] if seen else BEFORE_ALL)

    @extend_schema(
        operation_id="chat_stop",
        summary="Stop a turn, keeping what came",
        parameters=[_STREAM],
        request=None,
        responses=StopSerializer,
    )
    def stop(self, request: Request, message_id: str) -> Response:
        turn = stop(access=self.access, message_id=uuid_of(message_id, "message_id"))
        status = turn.status if turn.ended else "stopping"
        return Response({"status": status, "message_id": turn.last.message_id})

    def _ask(
        self, body: dict[str, Any], key: str | None, names: Mapping[str, str] = _IN_BODY
    ) -> WatchedTurn:
        """Ask what the body says. `names` are those that the client has for some of its fields."""
        user_id = body.pop("user_id", None)
        try:
            owner = None
            if user_id is not None:
                owner = owner_to_write_for(self.access, user_id, detail={"start": True})
            asked = {name: body.pop(name) for name in _OF_QUESTION if name in body}
            parent, text = body.pop("parent_id", None), body.pop("message", "")
            question = Question(text=text, parent=parent, **asked)
            begin = ask if question.regenerate is None else regenerate
            return begin(access=self.access, question=question, owner=owner, key=key, **body)
        except InvalidValue as error:
            error.field = names.get(error.field or "", error.field)
            raise

    def _go_on(self, stream_id: uuid.UUID, seen: EventPosition) -> HttpResponseBase:
        watched = join(access=self.access, message_id=stream_id)
        if seen >= AT_END:
            # To an EventSource this says: do not come back.
            return HttpResponse(status=204)
        return stream_of(watched, seen)

    def _at_end(self, watched: WatchedTurn) -> HttpResponseBase:
        """The turn at its end, waited for, or a TurnError."""

        def outcome(turn: Turn) -> Response:
            if not turn.succeeded:
                raise TurnError(turn, watched.retry_after)
            return Response(outcome_of(turn))

        return answer_later(self, watched.result, outcome)
