"""`/v1/responses`: a model's answer to the items of a request, in a conversation that is stored."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.http.response import HttpResponseBase
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api.openai.failures import raise_failure
from conversations.api.openai.ids import conversation_name, uuid_in
from conversations.api.openai.owners import owner_named
from conversations.api.openai.response_requests import read_response_request
from conversations.api.openai.response_streams import response_stream
from conversations.api.openai.views import OpenAIViewSet
from conversations.api.views import idempotency_key_of, whole_number_of
from conversations.api.waiting import answer_later
from conversations.chat.llm.models import model_named
from conversations.chat.responses.asked import Asked
from conversations.chat.responses.events import NONE_SEEN
from conversations.chat.responses.recorded import Recorded, delete_response, recorded_response
from conversations.chat.responses.respond import respond
from conversations.chat.responses.responding_turn import RespondingTurn
from conversations.chat.responses.response import response_name, response_of
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.chat.turn import join, stop
from conversations.models import Message
from conversations.models.turn import Turn
from conversations.services import InvalidValue, NotFound

NO_SUCH_RESPONSE = "No such response."
CONVERSATION_HEADER = "X-Conversation-Id"
_MAX_NUMBER = 2**53

Json = dict[str, Any]


class ResponseViewSet(OpenAIViewSet):
    queryset = Message.objects.none()
    throttle_kinds = {"create": "chat"}
    query_names = {
        "create": ["include", "include[]"],
        "retrieve": [
            *("include", "include[]", "stream", "starting_after", "include_obfuscation"),
        ],
        "input_items": ["after", "limit", "order", "include", "include[]"],
    }
    lookup_url_kwarg = "response_id"

    def create(self, request: Request) -> HttpResponseBase:
        try:
            watched, asked = self._ask(request)
        except InvalidValue as error:
            error.field = _field_of_input(error.field, request.data)
            raise
        if asked.background:
            return self._in_background(watched, asked)
        if isinstance(watched, RespondingTurn):
            return self._on_the_line(watched, asked)
        return self._again(watched, asked)

    def _ask(self, request: Request) -> tuple[WatchedTurn, Asked]:
        asked = read_response_request(request)
        provider, model = model_named(asked.body.get("model") or "")
        watched = respond(
            access=self.access,
            asked=asked,
            provider=provider,
            model=model,
            owner=owner_named(request, self.access, asked.body),
            key=idempotency_key_of(request),
        )
        return watched, asked

    def _in_background(self, watched: WatchedTurn, asked: Asked) -> HttpResponseBase:
        if asked.body.get("stream"):
            return _with_conversation(
                response_stream(watched, asked.kept(), own=True), watched.turn
            )
        response = Response(response_of(watched.turn, asked.kept()))
        if not isinstance(watched, RespondingTurn):
            watched.leave()
        return _with_conversation(response, watched.turn)

    def _on_the_line(self, watched: RespondingTurn, asked: Asked) -> HttpResponseBase:
        """A failure before anything has come is an error of HTTP, one after that ends the stream."""

        def begun(has_begun: bool) -> HttpResponseBase:
            if not has_begun:
                self._check(watched)
            return _with_conversation(
                response_stream(watched, asked.kept(), own=True), watched.turn
            )

        def ended(turn: Turn) -> HttpResponseBase:
            self._check(watched)
            return _with_conversation(Response(response_of(turn, asked.kept())), turn)

        if asked.body.get("stream"):
            return answer_later(self, watched.begins, begun)
        return answer_later(self, watched.outcome, ended)

    def _again(self, watched: WatchedTurn, asked: Asked) -> HttpResponseBase:
        """The turn of an equal request that came before."""
        if asked.body.get("stream"):
            stream = response_stream(watched, asked.kept(), own=False)
            return _with_conversation(stream, watched.turn)

        def ended(turn: Turn) -> HttpResponseBase:
            return _with_conversation(Response(response_of(turn, asked.kept())), turn)

        return answer_later(self, watched.result, ended)

    def _check(self, watched: RespondingTurn) -> None:
        if failure := watched.failure:
            raise_failure(failure, watched.turn)

    def retrieve(self, request: Request, response_id: str) -> HttpResponseBase:
        streams = request.query_params.get("stream") in ("true", "True", "1")
        found = recorded_response(self.access, _id_of(response_id))
        if not streams:
            return Response(response_of(found.turn, found.request))
        seen = whole_number_of(
            request, "starting_after", default=NONE_SEEN, minimum=0, maximum=_MAX_NUMBER
        )
        watched = join(access=self.access, message_id=found.turn.id)
        return response_stream(watched, found.request, seen=seen, own=False)

    def destroy(self, request: Request, response_id: str) -> Response:
        turn_id = _id_of(response_id)
        delete_response(self.access, turn_id)
        return Response({"id": response_name(turn_id), "object": "response", "deleted": True})

    def cancel(self, request: Request, response_id: str) -> HttpResponseBase:
        found = recorded_response(self.access, _id_of(response_id))
        stop(access=self.access, message_id=found.turn.id)
        watched = join(access=self.access, message_id=found.turn.id)

        def ended(turn: Turn) -> Response:
            return Response(response_of(turn, found.request))

        return answer_later(self, watched.result, ended)
