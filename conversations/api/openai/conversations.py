"""OpenAI's Conversations API: /v1/conversations, and the list of them that OpenAI has not."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import orjson
from django.contrib.auth.models import User
from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api import parameters
from conversations.api.openai import shapes
from conversations.api.openai.ids import conversation_id_of, conversation_name
from conversations.api.openai.items import resolved, stored_as_items
from conversations.api.openai.listing import NAMES, after_of, is_descending, limit_of, page
from conversations.api.openai.owners import HEADER, name_of_owner, owner_named
from conversations.api.openai.views import OpenAIViewSet, shown_conversation
from conversations.api.queries import conversation_from_model, read_conversation
from conversations.api.views import idempotency_key_of, read_body
from conversations.db.bulk_rows import Row
from conversations.models import Conversation, id_from_key
from conversations.selectors.conversation_pages import page_of_conversations
from conversations.services import (
    NewConversation,
    NotFound,
    create_with_messages,
    delete_conversation,
    owner_to_read,
    owner_to_write_for,
    update_conversation,
)
from conversations.services.errors import NO_SUCH_CONVERSATION


@extend_schema(tags=["openai"])
class OpenAIConversationViewSet(OpenAIViewSet):
    queryset = Conversation.objects.none()
    serializer_class = shapes.OpenAIConversationSerializer
    query_names = {"list": {"user_id", *NAMES}}
    read_on_replicas = ("list", "retrieve")
    stores_anew = ("create",)

    @extend_schema(
        operation_id="openai_conversations_list",
        summary="A user's conversations, the newest first",
        description="OpenAI's API has no such list.",
        parameters=[shapes.USER_ID, shapes.OWNER_HEADER, shapes.AFTER, *shapes.LISTING],
        responses=shapes.CONVERSATION_LIST,
    )
    def list(self, request: Request) -> Response:
        named = name_of_owner(request, self.access)
        name = request.query_params.get("user_id", named)
        if named not in (None, name):  # an application's user asks for another one's
            return Response(page([], has_more=False))
        field = "user_id" if "user_id" in request.query_params else HEADER
        owner = owner_to_read(self.access, name, field=field, detail={"list": True})
        if owner is None:
            return Response(page([], has_more=False))
        return Response(self._page(request, owner))

    @extend_schema(
        operation_id="openai_conversations_create",
        summary="Start a conversation, with up to 20 items",
        parameters=[shapes.OWNER_HEADER, parameters.IDEMPOTENCY_KEY],
        request=shapes.NewOpenAIConversationSerializer,
        responses={200: shapes.OpenAIConversationSerializer},
    )
    def create(self, request: Request) -> Response:
        body = read_body(request, shapes.NewOpenAIConversationSerializer)
        items = body.get("items") or []
        resolved(items, None)
        key = idempotency_key_of(request)
        values: dict[str, Any] = {"metadata": body.get("metadata") or {}}
        is_named = name_of_owner(request, self.access) is not None
        # A new user and the first conversation, or neither.
        with transaction.atomic() if is_named else nullcontext(), stored_as_items(items):
            owner = owner_named(request, self.access) or owner_to_write_for(self.access, None)
            if key is not None:
                values |= {"id": id_from_key(owner.pk, key), "field_of_id": "Idempotency-Key"}
            new = NewConversation(owner=owner, values=values, messages=items)
            created = create_with_messages(new=new, access=self.access)
        return Response(self._shown(created.conversation))

    @extend_schema(
        operation_id="openai_conversations_retrieve",
        summary="A conversation, without its items",
        parameters=[shapes.OWNER_HEADER],
        responses=shapes.OpenAIConversationSerializer,
    )
    def retrieve(self, request: Request, **path: str) -> Response:
        _, conversation = read_conversation(self.access, self.conversation_id)
        return Response(shown_conversation(conversation))

    @extend_schema(
        operation_id="openai_conversations_update",
        summary="Replace the metadata of a conversation",
        parameters=[shapes.OWNER_HEADER],
        request=shapes.OpenAIConversationChangesSerializer,
        responses={200: shapes.OpenAIConversationSerializer},
    )
    def update(self, request: Request, **path: str) -> Response:
        body = read_body(request, shapes.OpenAIConversationChangesSerializer)
        conversation = update_conversation(
            conversation_id=self.conversation_id,
            changes={"metadata": body["metadata"] or {}},
            access=self.access,
        )
        return Response(self._shown(conversation))

    @extend_schema(
        operation_id="openai_conversations_destroy",
        summary="Delete a conversation and its items",
        parameters=[shapes.OWNER_HEADER],
        responses={200: shapes.DELETED},
    )
    def destroy(self, request: Request, **path: str) -> Response:
        key = self.conversation_id
        delete_conversation(conversation_id=key, access=self.access)
        deleted = {"id": conversation_name(key), "object": "conversation.deleted", "deleted": True}
        return Response(deleted)

    def _shown(self, conversation: Conversation) -> Row:
        name = self.caller.name_of(conversation.user)
        return shown_conversation(conversation_from_model(conversation, name))

    def _page(self, request: Request, owner: User) -> dict[str, Any]:
        limit = limit_of(request)
        found = page_of_conversations(
            owner.pk,
            user_id=self.caller.name_of(owner),
            by_creation=True,
            descending=is_descending(request),
            beyond=_place_of(after_of(request), owner),
            limit=limit,
        )
        rows = [shown_conversation(row) for row in orjson.loads(b"[%b]" % found.json)]
        return page(rows, has_more=found.more)


def _place_of(after: str | None, owner: User) -> tuple[Any, Any] | None:
    """Where the list continues after a conversation of this owner. Raises NotFound."""
    if after is None:
        return None
    key = conversation_id_of(after, field="after")
    found = Conversation.objects.owned_by(owner.pk).filter(pk=key)
    created_at = found.values_list("created_at", flat=True).first()
    if created_at is None:
        raise NotFound(NO_SUCH_CONVERSATION, field="after")
    return created_at, key
