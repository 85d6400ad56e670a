"""Messages across conversations over HTTP: /api/messages."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api import parameters
from conversations.api.contracts import page_links
from conversations.api.fields import UserIdField
from conversations.api.filters import AnyMessageFilters
from conversations.api.pagination import NO_LINKS, Listing, Order, page_of
from conversations.api.queries import MESSAGE_COLUMNS, messages_of_user, visible_messages
from conversations.api.serializers import PLACE_ON_BRANCHES, MessageSerializer, fields_of
from conversations.api.views import ApiViewSet, choice_of, query_string_of
from conversations.db.bulk_rows import Row
from conversations.models import Message
from conversations.models.user_names import name_of
from conversations.services import owner_to_read
from conversations.services.users import EVERYBODY, check_everybody
from conversations.services.validators import MAX_QUERY_CHARS

# An id is unique within its conversation alone.
_PLACE = ("created_at", "id", "conversation_id")
ORDERS = {
    "-created_at": Order(columns=_PLACE, descending=True),
    "created_at": Order(columns=_PLACE, descending=False),
}
_OWNER = "user__username"
_ROW = {"user_id": UserIdField(help_text="The owner of its conversation.")}
_MESSAGE = fields_of(MessageSerializer)
for _name in PLACE_ON_BRANCHES:
    del _MESSAGE[_name]
_RESPONSE = inline_serializer(
    "AnyMessageList",
    {
        "messages": inline_serializer("AnyMessage", {**_MESSAGE, **_ROW}, many=True),
        **page_links(),
    },
)
_ORDER = OpenApiParameter(
    "order",
    {"type": "string", "enum": list(ORDERS), "default": next(iter(ORDERS))},
    description="By time of creation; `-` is newest first.",
)


@extend_schema(tags=["messages"])
class AnyMessageViewSet(ApiViewSet):
    queryset = Message.objects.none()
    serializer_class = type(_RESPONSE)
    filterset_class = AnyMessageFilters
    read_on_replicas = ("list",)
    query_names = {"list": {"user_id", "order", "cursor", "page_size", *AnyMessageFilters.names()}}

    @extend_schema(
        operation_id="messages_list",
        summary="Messages across conversations, newest first",
        description=(
            "Of one user, or with `user_id=*` of all whom the caller may see. Tags and metadata "
            "are those of the conversation, all else the message's own."
        ),
        parameters=[
            parameters.USER_ID,
            _ORDER,
            parameters.METADATA_VALUES,
            parameters.CURSOR,
            parameters.PAGE_SIZE,
        ],
        responses=_RESPONSE,
    )
    def list(self, request: Request) -> Response:
        query = request.query_params
        detail = {"messages": query_string_of(query, AnyMessageFilters.asked(query))}
        detail["messages"] = detail["messages"][:MAX_QUERY_CHARS]
        user = query.get("user_id")
        if user == EVERYBODY:
            check_everybody(self.access, detail=detail)
            return self._page(visible_messages(self.access), None)
        owner = owner_to_read(self.access, user, detail=detail)
        if owner is None:
            AnyMessageFilters.narrow(query, messages_of_user(None))
            return Response({"messages": [], **NO_LINKS})
        return self._page(messages_of_user(owner), owner)

    def _page(self, messages: QuerySet[Message], owner: User | None) -> Response:
        """One page of the messages of an owner, or of all (None) that the caller may see."""
        query = self.request.query_params
        asked = AnyMessageFilters.asked(query)
        narrowed = AnyMessageFilters.narrow(query, messages) if asked else messages
        whose = owner.pk if owner else f"*:{self.caller.user.pk}"
        listing = Listing(
            build=lambda: narrowed,
            columns=MESSAGE_COLUMNS if owner else (*MESSAGE_COLUMNS, _OWNER),
            order=choice_of(self.request, "order", ORDERS),
            scope=f"messages of:{whose}:{query_string_of(query, [*asked, 'order'])}",
        )
        rows, links = page_of(self.request, listing)
        return Response({"messages": [self._shown(row, owner) for row in rows], **links})

    def _shown(self, row: Row, owner: User | None) -> Row:
        username = owner.username if owner else row.pop(_OWNER)
        return self.contract.message(row) | {"user_id": name_of(username, self.caller.namespace)}
