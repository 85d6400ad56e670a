"""Many conversations at once: /api/conversations/bulk and /api/conversations/delete."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from drf_spectacular.utils import OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers as drf
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api import parameters
from conversations.api.contracts import CONVERSATIONS
from conversations.api.creating import check_one_identity, created_row, new_conversation
from conversations.api.fields import StrictSerializer, StrictUUIDField
from conversations.api.serializers import ConversationSerializer, NewConversationSerializer
from conversations.api.views import ApiViewSet, idempotency_key_of, read_body
from conversations.models import Conversation
from conversations.services import (
    ServiceError,
    create_conversations,
    delete_conversations,
    owner_to_write_for,
)
from conversations.services.bulk import MAX_CONVERSATIONS, MAX_MESSAGES
from conversations.services.users import UserId


class NewConversationsSerializer(StrictSerializer):
    """Up to 100 conversations with their messages, all of them or none."""

    conversations = drf.ListField(
        child=NewConversationSerializer(),
        allow_empty=False,
        min_length=1,
        max_length=MAX_CONVERSATIONS,
    )


class ConversationIdsSerializer(StrictSerializer):
    """The ids of up to 100 conversations."""

    ids = drf.ListField(
        child=StrictUUIDField(), allow_empty=False, min_length=1, max_length=MAX_CONVERSATIONS
    )


_CREATED = inline_serializer(
    "CreatedConversations", {"conversations": type(CONVERSATIONS.created_schema())(many=True)}
)
_DELETED = inline_serializer(
    "DeletedConversations",
    {
        "deleted": drf.IntegerField(help_text="How many were deleted now."),
        "results": inline_serializer(
            "DeletedResult",
            {
                "id": drf.UUIDField(),
                "status": drf.CharField(
                    help_text=(
                        "`deleted`, or the code of the error that deleting it alone would have "
                        "answered: `not_found`, `not_changeable`, `permission_denied`, …"
                    )
                ),
                "detail": drf.CharField(allow_null=True, help_text="The text of that error."),
            },
            many=True,
        ),
    },
)


@extend_schema(tags=["conversations"])
class BulkConversationViewSet(ApiViewSet):
    queryset = Conversation.objects.none()
    serializer_class = ConversationSerializer

    @extend_schema(
        operation_id="conversations_bulk_create",
        summary="Create up to 100 conversations with their messages, all or none",
        description=(
            f"Each is as in `POST /api/conversations`, with a `user_id` of its own; together at "
            f"most {MAX_MESSAGES:,} messages. One that exists already, by its `id`, its "
            "`external_id` or the Idempotency-Key, is returned as it is. 201 if any is new."
        ),
        parameters=[parameters.IDEMPOTENCY_KEY],
        request=NewConversationsSerializer,
        responses={
            201: _CREATED,
            200: OpenApiResponse(_CREATED, description="All of them are stored already."),
        },
    )
    def create(self, request: Request) -> Response:
        bodies = read_body(request, NewConversationsSerializer)["conversations"]
        key = idempotency_key_of(request)
        for place, body in enumerate(bodies if key is not None else []):
            check_one_identity(body, prefix=f"conversations.{place}.")
        with transaction.atomic():  # with the users that are new
            owners = self._owners(bodies)
            items = [
                new_conversation(body, owner=owners[body.get("user_id")], contract=self.contract)
                for body in bodies
            ]
            made = create_conversations(items=items, access=self.access, key=key)
        rows = [created_row(one, self.caller, self.contract) for one in made]
        return Response(
            {"conversations": rows}, status=201 if any(one.is_new for one in made) else 200
        )

    def _owners(self, bodies: list[dict[str, Any]]) -> dict[UserId | None, User]:
        """Each of those named, looked up once. Acts of staff leave one record for each."""
        owners: dict[UserId | None, User] = {}
        for place, body in enumerate(bodies):
            user_id = body.get("user_id")
            if user_id not in owners:
                owners[user_id] = self._owner(user_id, place)
        return owners

    def _owner(self, user_id: UserId | None, place: int) -> User:
        try:
            return owner_to_write_for(self.access, user_id, detail={"start": True})
        except ServiceError as error:
            raise error.with_field_prefix(f"conversations.{place}") from None

    @extend_schema(
        operation_id="conversations_bulk_delete",
        summary="Delete up to 100 conversations",
        description=(
            "Each by itself, as `DELETE /api/conversations/{id}` does: one that cannot be deleted "
            "keeps none of the others. The answer says of each what became of it."
        ),
        request=ConversationIdsSerializer,
        responses=_DELETED,
    )
    def delete_many(self, request: Request) -> Response:
        ids = read_body(request, ConversationIdsSerializer)["ids"]
        refusals = delete_conversations(ids=ids, access=self.access)
        results = [
            {
                "id": id_,
                "status": refusal.code if refusal else "deleted",
                "detail": refusal.detail if refusal else None,
            }
            for id_, refusal in refusals.items()
        ]
        deleted = sum(refusal is None for refusal in refusals.values())
        return Response({"deleted": deleted, "results": results})
