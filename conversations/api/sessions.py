"""Conversations by their older name: /api/chat-history/sessions, /api/chat/history/{id}."""

from __future__ import annotations

from dataclasses import replace

from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api import parameters, serializers
from conversations.api.contracts import SESSIONS
from conversations.api.conversations import LISTING, ConversationViewSet
from conversations.api.messages import APPENDED_SESSION, NEW_MESSAGES, MessageViewSet
from conversations.api.queries import read_conversation


@extend_schema_view(
    list=extend_schema(
        summary="A user's sessions, newest activity first",
        parameters=[parameters.USER_ID, *parameters.CONVERSATION_LISTING],
        responses=serializers.SessionListSerializer,
    ),
    create=extend_schema(
        summary="Start a session",
        parameters=[parameters.IDEMPOTENCY_KEY],
        request=serializers.NewSessionSerializer,
        responses={
            201: serializers.ConversationSerializer,
            200: OpenApiResponse(
                serializers.ConversationSerializer, description="It was there already."
            ),
        },
    ),
    retrieve=extend_schema(
        summary="A session and its messages in order",
        responses=serializers.SessionDetailSerializer,
    ),
    partial_update=extend_schema(
        summary="Change title, metadata, pinned, archived",
        request=serializers.ConversationChangesSerializer,
        responses=serializers.ConversationSerializer,
    ),
    destroy=extend_schema(
        summary="Delete a session and its messages",
        responses={200: serializers.SessionDeletedSerializer},
    ),
)
@extend_schema(tags=["sessions"])
class SessionViewSet(ConversationViewSet):
    """Conversations under their other name; validation errors are 422."""

    contract = SESSIONS
    new_serializer = serializers.NewSessionSerializer
    lookup_field = "session_id"
    query_names = {"list": LISTING}

    def create(self, request: Request) -> Response:
        conversation, created = self._create(request)
        return Response(self._shown(conversation), status=201 if created else 200)


@extend_schema_view(
    list=extend_schema(
        summary="The messages of a session in order",
        parameters=parameters.MESSAGE_LISTING,
        responses=serializers.SessionMessageListSerializer,
    ),
    create=extend_schema(
        summary="Append one message to a session, or up to 1,000, all or none",
        parameters=[parameters.IDEMPOTENCY_KEY, *parameters.MESSAGE_AS_QUERY],
        request=NEW_MESSAGES,
        responses={
            201: APPENDED_SESSION,
            200: OpenApiResponse(APPENDED_SESSION, description="It was there already."),
        },
    ),
    retrieve=extend_schema(
        summary="One message of a session", responses=serializers.SessionMessageSerializer
    ),
    partial_update=extend_schema(
        summary="Rate a message of a session or change its metadata",
        request=serializers.MessageChangesSerializer,
        responses=serializers.SessionMessageSerializer,
    ),
    destroy=extend_schema(
        summary="Delete a message of a session",
        responses={200: serializers.MessageDeletedSerializer},
    ),
)
@extend_schema(tags=["sessions"])
class SessionMessageViewSet(MessageViewSet):
    contract = SESSIONS


@extend_schema_view(
    retrieve=extend_schema(
        operation_id="chat_history_retrieve",
        summary="The messages of a session",
        responses=serializers.ChatHistorySerializer,
    ),
)
@extend_schema(tags=["chat"])
class ChatHistoryViewSet(ConversationViewSet):
    """What was said in a session, for clients that show a chat and nothing else."""

    contract = replace(SESSIONS, errors="standard")
    lookup_field = "session_id"

    def retrieve(self, request: Request, **path: str) -> Response:
        owner, conversation = read_conversation(self.access, self.conversation_id)
        key = conversation["id"]
        messages, beyond = self._first_messages(key, owner)
        return Response({"session_id": key, "messages": messages, "messages_next": beyond})
