"""Conversations over HTTP: /api/conversations and /api/users/{user}/conversations."""

from __future__ import annotations

import builtins
from contextlib import nullcontext
from typing import Any

import orjson
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import OuterRef
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api import parameters, serializers
from conversations.api.contracts import CONVERSATIONS, Contract
from conversations.api.creating import check_one_identity, created_row, new_conversation
from conversations.api.fields import StrictSerializer
from conversations.api.filters import ConversationFilters
from conversations.api.message_pages import MessagePages
from conversations.api.pagination import NO_LINKS, Cursor, Cut, Listing, Order, page_at, page_of
from conversations.api.parsers import MERGE_PATCH, has_body
from conversations.api.queries import (
    CONVERSATION_COLUMNS,
    conversation_from_model,
    conversation_from_row,
    read_conversation,
    with_path_length,
)
from conversations.api.views import (
    ApiViewSet,
    choice_of,
    idempotency_key_of,
    query_string_of,
    read_body,
    read_changes,
)
from conversations.db.bulk_rows import Row
from conversations.models import Conversation, id_from_key
from conversations.models.user_names import name_of
from conversations.selectors.conversation_pages import page_of_conversations
from conversations.services import (
    create_with_messages,
    delete_conversation,
    get_or_create_latest,
    owner_to_read,
    owner_to_write_for,
    update_conversation,
)
from conversations.services.users import EVERYBODY, UserId, check_everybody

ORDERS = {
    "-updated_at": Order(columns=("updated_at", "id"), descending=True),
    "updated_at": Order(columns=("updated_at", "id"), descending=False),
    "-created_at": Order(columns=("created_at", "id"), descending=True),
    "created_at": Order(columns=("created_at", "id"), descending=False),
}
TWO_OWNERS = "The query string and the body name two different users."

LISTING = {"user_id", "cursor", "page_size", "order", *ConversationFilters.names()}


def conversation_operations(contract: Contract) -> Any:
    """Describes the operations that both names of a conversation have, and not `create`."""
    return extend_schema_view(
        list=extend_schema(
            summary=f"A user's {contract.plural}, newest activity first",
            parameters=[parameters.USER_ID, *parameters.CONVERSATION_LISTING],
            responses=contract.list_schema(),
        ),
        retrieve=extend_schema(
            summary=f"A {contract.name} with its messages in order",
            parameters=[parameters.BRANCH],
            responses=contract.detail_schema(),
        ),
        partial_update=extend_schema(
            summary="Change title, metadata, external_id, tags, pinned, archived, active branch",
            description=parameters.MERGING,
            request={
                "application/json": serializers.ConversationChangesSerializer,
                MERGE_PATCH: serializers.ConversationMergePatchSerializer,
            },
            responses=serializers.ConversationSerializer,
        ),
        destroy=extend_schema(
            summary=f"Delete a {contract.name} and its messages",
            responses={200: contract.deleted_schema()},
        ),
    )


def created_answers(contract: Contract) -> dict[int, Any]:
    shape = contract.created_schema()
    text = "Already stored: by the same request before, or under its `external_id`."
    return {201: shape, 200: OpenApiResponse(shape, description=text)}


@conversation_operations(CONVERSATIONS)
@extend_schema(tags=["conversations"])
class ConversationViewSet(ApiViewSet):
    queryset = Conversation.objects.none()
    serializer_class = serializers.ConversationSerializer
    new_serializer: type[StrictSerializer] = serializers.NewConversationSerializer
    lookup_field = "conversation_id"
    lookup_value_regex = "[^/]+"
    filterset_class = ConversationFilters
    query_names = {"list": LISTING, "create": {"user_id"}, "retrieve": {"branch"}}
    read_on_replicas = ("list", "retrieve")

    def list(self, request: Request) -> Response:
        return Response(self.conversations_of(request.query_params.get("user_id")))

    @extend_schema(
        summary="Start a conversation, or without a body get or create the latest",
        description=(
            "With a body (`{}` is one) a new conversation, unless the owner has one with its "
            "`external_id`: that is returned as it is. `messages` are stored with it, all or none. "
            "Without a body the owner's "
            "latest conversation that is not archived (200), or a new one (201)."
        ),
        parameters=[parameters.OWNER_ID, parameters.IDEMPOTENCY_KEY],
        request=serializers.NewConversationSerializer,
        responses=created_answers(CONVERSATIONS),
    )
    def create(self, request: Request) -> Response:
        key = idempotency_key_of(request)
        if has_body(request):
            return self._create(request, key)
        owner = self._owner(request.query_params.get("user_id"))
        conversation, created = get_or_create_latest(owner=owner)
        return Response(self._shown(conversation), status=201 if created else 200)

    def retrieve(self, request: Request, **path: str) -> Response:
        owner, conversation = read_conversation(self.access, self.conversation_id)
        messages, beyond = self._first_messages(owner)
        body = {self.contract.name: conversation} if self.contract.wrapped else conversation
        return Response(body | {"messages": messages, "messages_next": beyond})

    def partial_update(self, request: Request, **path: str) -> Response:
        conversation = update_conversation(
            conversation_id=self.conversation_id,
            access=self.access,
            **read_changes(
                request,
                serializers.ConversationChangesSerializer,
                serializers.ConversationMergePatchSerializer,
            ),
        )
        return Response(self._shown(conversation))

    def destroy(self, request: Request, **path: str) -> Response:
        key = self.conversation_id
        delete_conversation(conversation_id=key, access=self.access)
        return Response({"status": "deleted", self.contract.id_name: key})

    def conversations_of(self, user: str | None, field: str = "user_id") -> Row:
        """One page of this user's conversations, or with `*` of all that the caller may see."""
        query = self.request.query_params
        asked = ConversationFilters.asked(query)
        if user == EVERYBODY:
            return self._everybodys(asked, field)
        owner = owner_to_read(self.access, user, field=field, detail={"list": True})
        if owner is None:
            ConversationFilters.narrow(query, Conversation.objects.none())
            return {self.contract.plural: [], "count": 0, **NO_LINKS}
        order = choice_of(self.request, "order", ORDERS)
        scope = f"conversations:{owner.pk}:{query_string_of(query, [*asked, 'order'])}"
        if not asked:
            return self._all_of_owner(owner, order, scope)
        narrowed = ConversationFilters.narrow(query, Conversation.objects.owned_by(owner.pk))
        listing = Listing(
            build=lambda: with_path_length(narrowed, owner.pk),
            columns=CONVERSATION_COLUMNS,
            order=order,
            scope=scope,
        )
        rows, links = page_of(self.request, listing)
        name = self.caller.name_of(owner)
        return {
            self.contract.plural: [conversation_from_row(row, name) for row in rows],
            "count": narrowed.count(),
            **links,
        }

    def _all_of_owner(self, owner: User, order: Order, scope: str) -> Row:
        """A page without filters, as the database writes it."""
        total = 0

        def read(cursor: Cursor, size: int) -> Cut:
            nonlocal total
            page = page_of_conversations(
                owner.pk,
                user_id=self.caller.name_of(owner),
                by_creation=order.columns[0] == "created_at",
                descending=order.descending != cursor.backward,
                backward=cursor.backward,
                beyond=cursor.at,
                limit=size,
            )
            total = page.total
            ends = page.ends[::-1] if page.ends and cursor.backward else page.ends
            return Cut(orjson.Fragment(b"[%b]" % page.json), ends, page.more)

        shown, links = page_at(self.request, scope, read)
        return {self.contract.plural: shown, "count": total, **links}

    def _everybodys(self, asked: builtins.list[str], field: str) -> Row:
        """One page over all owners that the caller may see. It is not counted."""
        check_everybody(self.access, field=field, detail={"list": True})
        query = self.request.query_params
        visible = Conversation.objects.visible_to(self.access)
        narrowed = ConversationFilters.narrow(query, visible) if asked else visible
        filters = query_string_of(query, [*asked, "order"])
        listing = Listing(
            build=lambda: with_path_length(narrowed, OuterRef("user_id")),
            columns=(*CONVERSATION_COLUMNS, "user__username"),
            order=choice_of(self.request, "order", ORDERS),
            scope=f"conversations:*:{self.caller.user.pk}:{filters}",
        )
        rows, links = page_of(self.request, listing)
        names = [name_of(row.pop("user__username"), self.caller.namespace) for row in rows]
        return {
            self.contract.plural: [
                conversation_from_row(row, name) for row, name in zip(rows, names, strict=True)
            ],
            "count": None,
            **links,
        }

    def _shown(self, conversation: Conversation) -> Row:
        return conversation_from_model(conversation, self.caller.name_of(conversation.user))

    def _first_messages(self, owner: User) -> tuple[orjson.Fragment, str | None]:
        """The first messages, and the URL of those after them, if there are any."""
        key = self.conversation_id
        return MessagePages(self.request, self.contract, owner.pk, key).first()

    def _create(self, request: Request, key: str | None) -> Response:
        body = read_body(request, self.new_serializer)
        if key is not None:
            check_one_identity(body)
        named = self._named_owner(request, body.get("user_id"))
        # A new user and the first conversation, or neither. One's own is a single statement.
        with nullcontext() if named is None else transaction.atomic():
            owner = self._owner(named)
            new = new_conversation(body, owner=owner, contract=self.contract)
            if key is not None:
                keyed = {"id": id_from_key(owner.pk, key), "field_of_id": "Idempotency-Key"}
                new.values |= keyed
            created = create_with_messages(new=new, access=self.access)
        shown = created_row(created, self.caller, self.contract)
        return Response(shown, status=201 if created.is_new else 200)

    def _owner(self, user_id: UserId | None) -> User:
        return owner_to_write_for(self.access, user_id, detail={"start": True})

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
        parameters=[parameters.USER_PATH, *parameters.CONVERSATION_LISTING],
        responses=CONVERSATIONS.list_schema(),
    ),
)
@extend_schema(tags=["conversations"])
class UserConversationViewSet(ConversationViewSet):
    """The same list, named by its owner in the path."""

    query_names = {"list": LISTING - {"user_id"}}

    def list(self, request: Request, user: str) -> Response:  # type: ignore[override]
        return Response(self.conversations_of(user, field="user"))
