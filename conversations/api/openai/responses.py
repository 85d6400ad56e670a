"""`/v1/responses`: a model's answer to the items of a request, in a conversation that is stored."""

from __future__ import annotations

import uuid
from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api import parameters
from conversations.api.openai import shapes
from conversations.api.openai.ids import uuid_in
from conversations.api.openai.item_pages import NO_SUCH_ITEM
from conversations.api.openai.listing import (
    INCLUDE,
    NAMES,
    check_include,
    is_descending,
    limit_of,
    page,
)
from conversations.api.openai.owners import check_owner, name_of_owner, owner_named
from conversations.api.openai.recorded_chat import chat_named
from conversations.api.openai.response_requests import (
    ResponseRequestSerializer,
    field_of_input,
    read_response_request,
)
from conversations.api.openai.response_shapes import (
    DELETED,
    FAILURES,
    OBFUSCATION,
    RESPONSE_ID,
    RESPONSES,
    STARTING_AFTER,
    STREAM,
    ResponseSerializer,
)
from conversations.api.openai.response_streams import response_stream
from conversations.api.openai.turn_answers import failed_answer, whole_answer
from conversations.api.openai.views import OpenAIViewSet
from conversations.api.views import choice_of, idempotency_key_of, whole_number_of
from conversations.api.waiting import answer_later
from conversations.chat.llm.models import model_named
from conversations.chat.responses.asked import Asked
from conversations.chat.responses.events import NONE_SEEN
from conversations.chat.responses.recorded import (
    NO_SUCH_RESPONSE,
    cancel_response,
    delete_response,
    input_of,
    recorded_response,
)
from conversations.chat.responses.respond import respond
from conversations.chat.responses.responding_turn import RespondingTurn
from conversations.chat.responses.response import response_name, response_of
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.chat.turn import NO_MODEL, join
from conversations.models import Message
from conversations.models.turn import Turn
from conversations.selectors.turn_log import find_turn
from conversations.services import InvalidValue, NotFound

_MAX_NUMBER = 2**53

Json = dict[str, Any]


@extend_schema(tags=["openai"])
class ResponseViewSet(OpenAIViewSet):
    queryset = Message.objects.none()
    serializer_class = ResponseSerializer
    throttle_kinds = {"create": "chat"}
    query_names = {
        "create": INCLUDE,
        "retrieve": (*INCLUDE, "stream", "starting_after", "include_obfuscation"),
        "input_items": (*INCLUDE, *NAMES),
    }

    @extend_schema(
        operation_id="openai_responses_create",
        summary="Ask a model with items, as OpenAI's Responses API is asked",
        description=(
            "The input is stored before the model is asked, after `conversation` or "
            "`previous_response_id`, else in a new conversation. With `stream` the answer is "
            "events. A client that leaves ends the answer, unless it has `background`."
        ),
        parameters=[parameters.IDEMPOTENCY_KEY, shapes.OWNER_HEADER, shapes.INCLUDE],
        request=ResponseRequestSerializer,
        responses={**RESPONSES, **FAILURES},
    )
    def create(self, request: Request) -> HttpResponseBase:
        asked = read_response_request(request, self.access)
        watched, is_new = self._ask(request, asked)
        if not is_new or asked.background or not isinstance(watched, RespondingTurn):
            return self._at_once(watched, asked, own=is_new)
        if asked.streams:
            return answer_later(
                self, watched.begins, lambda begins: _streamed(watched, asked, begins)
            )
        return answer_later(self, watched.outcome, lambda _: _whole(watched, asked))

    def _ask(self, request: Request, asked: Asked) -> tuple[WatchedTurn, bool]:
        provider, model = model_named(asked.body.get("model") or "")
        model = model or provider.model
        if not model:
            text = NO_MODEL.format(name=provider.name)
            raise InvalidValue(text, field="model", code="required")
        try:
            return respond(
                access=self.access,
                asked=asked,
                provider=provider,
                model=model,
                owner=owner_named(request, self.access, asked.body),
                key=idempotency_key_of(request),
                chat=chat_named(request, asked.body),
            )
        except InvalidValue as error:
            error.field = field_of_input(error.field, asked)
            raise

    def _at_once(self, watched: WatchedTurn, asked: Asked, *, own: bool) -> HttpResponseBase:
        """Of a turn in the background, and of an equal request's that came before."""
        if asked.streams:
            return response_stream(watched, asked.kept(), own=own)
        if not asked.background:
            return answer_later(self, watched.result, lambda turn: _answer(turn, asked.kept()))
        try:
            return _answer(watched.state(), asked.kept())
        finally:
            watched.leave()

    def _id_of(self, response_id: str) -> uuid.UUID:
        """Raises NotFound, also where the request names a user and it is another one's."""
        found = uuid_in(response_id)
        if found is None:
            raise NotFound(NO_SUCH_RESPONSE)
        if name_of_owner(self.request, self.access) is None:
            return found
        turn = find_turn(message_id=found, access=self.access)
        if turn is None:
            raise NotFound(NO_SUCH_RESPONSE)
        check_owner(self.request, self.access, turn.conversation_id, text=NO_SUCH_RESPONSE)
        return found

    @extend_schema(
        operation_id="openai_responses_retrieve",
        summary="A response as far as it has come; with `stream` its events",
        parameters=[RESPONSE_ID, STREAM, STARTING_AFTER, OBFUSCATION, shapes.INCLUDE],
        responses=RESPONSES,
    )
    def retrieve(self, request: Request, response_id: str) -> HttpResponseBase:
        found = recorded_response(self.access, self._id_of(response_id))
        if not choice_of(request, "stream", {"false": False, "true": True}):
            return _answer(found.turn, found.request)
        seen = whole_number_of(request, "starting_after", default=NONE_SEEN, maximum=_MAX_NUMBER)
        watched = join(access=self.access, message_id=found.turn.id)
        return response_stream(watched, found.request, seen=seen, own=False)

    @extend_schema(
        operation_id="openai_responses_destroy",
        summary="Delete the answer's messages; its input stays in the conversation",
        parameters=[RESPONSE_ID],
        responses={200: DELETED},
    )
    def destroy(self, request: Request, response_id: str) -> Response:
        turn = delete_response(self.access, self._id_of(response_id))
        return Response({"id": response_name(turn.id), "object": "response", "deleted": True})

    @extend_schema(
        operation_id="openai_responses_cancel",
        summary="Stop a response, keeping what came",
        parameters=[RESPONSE_ID],
        request=None,
        responses=ResponseSerializer,
    )
    def cancel(self, request: Request, response_id: str) -> HttpResponseBase:
        """Answered once the turn has ended, in whichever process it runs."""
        watched, request_kept = cancel_response(self.access, self._id_of(response_id))
        return answer_later(self, watched.result, lambda turn: _answer(turn, request_kept))

    @extend_schema(
        operation_id="openai_responses_input_items",
        summary="The items of the request that a response answers",
        parameters=[RESPONSE_ID, shapes.AFTER, *shapes.LISTING, shapes.INCLUDE],
        responses=shapes.ITEM_LIST,
    )
    def input_items(self, request: Request, response_id: str) -> Response:
        check_include(request)
        found = recorded_response(self.access, self._id_of(response_id))
        items, limit = input_of(found), limit_of(request)
        if is_descending(request):
            items.reverse()
        if after := request.query_params.get("after"):
            places = [place for place, item in enumerate(items) if item["id"] == after]
            if not places:
                raise NotFound(NO_SUCH_ITEM, field="after")
            items = items[places[0] + 1 :]
        return Response(page(items[:limit], has_more=len(items) > limit))


def _answer(turn: Turn, request: Json) -> HttpResponseBase:
    return whole_answer(response_of(turn, request), turn)


def _whole(watched: RespondingTurn, asked: Asked) -> HttpResponseBase:
    if failure := watched.failure:
        return failed_answer(failure, watched.turn)
    return _answer(watched.turn, asked.kept())


def _streamed(watched: RespondingTurn, asked: Asked, begins: bool) -> HttpResponseBase:
    """A failure before anything has come is an error of HTTP; one after that ends the stream."""
    if not begins and (failure := watched.failure):
        return failed_answer(failure, watched.turn)
    return response_stream(watched, asked.kept(), own=True)
