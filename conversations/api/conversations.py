"""Conversations over HTTP: /api/conversations and /api/users/{user}/conversations."""

from __future__ import annotations

import builtins
from functools import cache
from urllib.parse import urlencode

from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from conversations.api import parameters, serializers
from conversations.api.pages import Listing, Order, page_of
from conversations.api.parsers import has_body
from conversations.api.representations import (
    CONVERSATION_COLUMNS,
    MESSAGE_COLUMNS,
    conversation_from_model,
    conversation_from_row,
)
from conversations.api.views import ApiViewSet, idempotency_key_of, read_body, uuid_of
from conversations.models import Conversation, Message, id_from_key
from conversations.models.prepared import Prepared, slot
from conversations.models.rows import Row
from conversations.services import (
    Found,
    create_conversation,
    delete_conversation,
    find_or_start,
    owner_id_for,
    readable_owner_id,
    update_conversation,
)

NEWEST_FIRST = Order(columns=("updated_at", "id"), descending=True)
DETAIL_MESSAGES = 1_000
TWO_OWNERS = "The query string and the body name two different users."
TWO_IDENTITIES = "Send an `id` or an Idempotency-Key, not both."

_PAGING = {"user_id", "cursor", "page_size"}


@cache
def _first_messages() -> Prepared:
    messages = Message.objects.filter(conversation_id=slot("conversation")).in_order()
    return Prepared(messages[: DETAIL_MESSAGES + 1], MESSAGE_COLUMNS)


@extend_schema_view(
    list=extend_schema(
        summary="A user's conversations, newest activity first",
        parameters=[parameters.USER_ID, parameters.CURSOR, parameters.PAGE_SIZE],
        responses=serializers.ConversationListSerializer,
    ),
    create=extend_schema(
        summary="Start a conversation, or without a body get or create the latest",
        description=(
            "With a body (`{}` is one) always a new conversation. Without a body the owner's "
            "latest conversation that is not archived (200), or a new one (201)."
        ),
        parameters=[parameters.USER_ID, parameters.IDEMPOTENCY_KEY],
        request=serializers.NewConversationSerializer,
        responses={
            201: serializers.ConversationSerializer,
            200: OpenApiResponse(
                serializers.ConversationSerializer, description="It was there already."
            ),
        },
    ),
    retrieve=extend_schema(
        summary="A conversation with its messages in order",
        responses=serializers.ConversationDetailSerializer,
    ),
    partial_update=extend_schema(
        summary="Change title, metadata, pinned, archived",
        request=serializers.ConversationChangesSerializer,
        responses=serializers.ConversationSerializer,
    ),
    destroy=extend_schema(
        summary="Delete a conversation and its messages",
        responses={200: serializers.ConversationDeletedSerializer},
    ),
)
@extend_schema(tags=["conversations"])
class ConversationViewSet(ApiViewSet):
    queryset = Conversation.objects.none()
    serializer_class = serializers.ConversationSerializer
    lookup_field = "conversation_id"
    lookup_value_regex = "[^/]+"
    query_names = {"list": _PAGING, "create": {"user_id"}}

    def list(self, request: Request) -> Response:
        return Response(self.conversations_of(request.query_params.get("user_id")))

    def create(self, request: Request) -> Response:
        found = self._create(request) if has_body(request) else self._find_or_start(request)
        return Response(
            conversation_from_model(found.conversation), status=201 if found.created else 200
        )

    def retrieve(self, request: Request, conversation_id: str) -> Response:
        conversation = conversation_from_row(self.read_conversation(conversation_id))
        messages, beyond = self._first_messages(conversation["id"])
        return Response(conversation | {"messages": messages, "messages_next": beyond})

    def partial_update(self, request: Request, conversation_id: str) -> Response:
        key = uuid_of(conversation_id, "conversation_id")
        changes = read_body(request, serializers.ConversationChangesSerializer)
        conversation = update_conversation(conversation_id=key, changes=changes, caller=self.caller)
        return Response(conversation_from_model(conversation))

    def destroy(self, request: Request, conversation_id: str) -> Response:
        key = uuid_of(conversation_id, "conversation_id")
        delete_conversation(conversation_id=key, caller=self.caller)
        return Response({"status": "deleted", "conversation_id": key})

    def conversations_of(self, user: str | None, field: str = "user_id") -> Row:
        """One page of what this user has, for a caller who may see it."""
        owner_id = readable_owner_id(self.caller, user, field=field)
        if owner_id is None:
            return {"conversations": [], "count": 0, "next": None, "previous": None}
        self.record_read(owner_id)
        owned = Conversation.objects.owned_by(owner_id)
        page = page_of(
            self.request,
            Listing(
                build=lambda: Conversation.objects.owned_by(slot("owner")),
                columns=CONVERSATION_COLUMNS,
                order=NEWEST_FIRST,
                scope=f"conversations:{owner_id}",
                values={"owner": owner_id},
                shape="conversations",
            ),
        )
        return {
            "conversations": [conversation_from_row(row) for row in page.rows],
            "count": owned.count(),
            "next": page.next,
            "previous": page.previous,
        }

    def _first_messages(self, conversation_id: str) -> tuple[builtins.list[Row], str | None]:
        """The messages, and where they go on when there are more than DETAIL_MESSAGES."""
        rows = _first_messages().fetch({"conversation": conversation_id})
        if len(rows) <= DETAIL_MESSAGES:
            return rows, None
        rows.pop()
        path = reverse(
            "message-list", kwargs={"conversation_id": conversation_id}, request=self.request
        )
        return rows, f"{path}?{urlencode({'after_sequence': rows[-1]['sequence']})}"

    def _find_or_start(self, request: Request) -> Found:
        user = request.query_params.get("user_id")
        return find_or_start(owner_id=owner_id_for(self.caller, user))

    def _create(self, request: Request) -> Found:
        body = read_body(request, serializers.NewConversationSerializer)
        owner_id = owner_id_for(self.caller, self._named_owner(request, body.pop("user_id", None)))
        key = idempotency_key_of(request)
        if key is not None and "id" in body:
            raise ValidationError({"id": [ErrorDetail(TWO_IDENTITIES, "ambiguous")]})
        if key is None:
            return create_conversation(owner_id=owner_id, **body)
        return create_conversation(
            owner_id=owner_id,
            id=id_from_key(owner_id, key),
            field_of_id="Idempotency-Key",
            **body,
        )

    @staticmethod
    def _named_owner(request: Request, in_body: int | str | None) -> int | str | None:
        in_query = request.query_params.get("user_id")
        if in_body is not None and in_query is not None and str(in_body) != in_query:
            raise ValidationError({"user_id": [ErrorDetail(TWO_OWNERS, "ambiguous")]})
        return in_query if in_body is None else in_body


@extend_schema_view(
    list=extend_schema(
        operation_id="users_conversations_list",
        summary="A user's conversations, newest activity first",
        parameters=[parameters.USER_PATH, parameters.CURSOR, parameters.PAGE_SIZE],
        responses=serializers.ConversationListSerializer,
    ),
)
@extend_schema(tags=["conversations"])
class UserConversationViewSet(ConversationViewSet):
    """The same list, named by its owner in the path."""

    query_names = {"list": _PAGING - {"user_id"}}

    def list(self, request: Request, user: str) -> Response:  # type: ignore[override]
        return Response(self.conversations_of(user, field="user"))
