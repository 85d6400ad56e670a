"""Conversations by their older name: /api/chat-history/sessions, /api/chat/history/{id}."""

from __future__ import annotations

from dataclasses import replace

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api import parameters, serializers
from conversations.api.contracts import SESSIONS
from conversations.api.conversations import (
    LISTING,
    ConversationViewSet,
    conversation_operations,
    created_answers,
)
from conversations.api.messages import MessageViewSet, clear_operation, message_operations
from conversations.api.queries import read_conversation
from conversations.api.views import idempotency_key_of


@conversation_operations(SESSIONS)
@extend_schema(tags=["sessions"])
class SessionViewSet(ConversationViewSet):
    """The session names of conversations; validation errors are 422."""

    contract = SESSIONS
    new_serializer = serializers.NewSessionSerializer
    lookup_field = "session_id"
    query_names = {"list": LISTING, "retrieve": {"branch"}}

    @extend_schema(
        summary="Start a session",
        description="A new one, unless the owner has one with its `external_id`.",
        parameters=[parameters.IDEMPOTENCY_KEY],
        request=serializers.NewSessionSerializer,
        responses=created_answers(SESSIONS),
    )
    def create(self, request: Request) -> Response:
        return self._create(request, idempotency_key_of(request))


@message_operations(SESSIONS)
@extend_schema(tags=["sessions"])
class SessionMessageViewSet(MessageViewSet):
    contract = SESSIONS

    @clear_operation(SESSIONS)
    def clear(self, request: Request, **path: str) -> Response:
        return super().clear(request, **path)


@extend_schema_view(
    retrieve=extend_schema(
        operation_id="chat_history_retrieve",
        summary="The messages of a session",
        parameters=[parameters.BRANCH],
        responses=SESSIONS.history_schema(),
    ),
)
@extend_schema(tags=["chat"])
class ChatHistoryViewSet(ConversationViewSet):
    """The messages of a session alone, for clients that show nothing else of it."""

    contract = replace(SESSIONS, errors="standard")
    lookup_field = "session_id"
    query_names = {"retrieve": {"branch"}}

    def retrieve(self, request: Request, **path: str) -> Response:
        owner, conversation = read_conversation(self.access, self.conversation_id)
        key = conversation["id"]
        messages, beyond = self._first_messages(owner)
        return Response({"session_id": key, "messages": messages, "messages_next": beyond})
