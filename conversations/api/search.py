"""Full-text search over HTTP: /api/search."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view, inline_serializer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import CharField, ChoiceField, FloatField

from conversations.api import parameters
from conversations.api.contracts import page_links
from conversations.api.filters import MarkFilters
from conversations.api.pagination import NO_LINKS, Cursor, cut_page
from conversations.api.queries import check_is_there
from conversations.api.serializers import ConversationSerializer, MessageSerializer, fields_of
from conversations.api.times import time_of
from conversations.api.views import ApiViewSet, choice_of, query_string_of, uuid_of
from conversations.db.bulk_rows import Row
from conversations.models import AccessAction, Conversation, Role
from conversations.models.user_names import name_of
from conversations.selectors.search import search_conversations
from conversations.selectors.search_sql import SearchScope
from conversations.services import owner_of, owner_to_read
from conversations.services.users import EVERYBODY, check_everybody
from conversations.services.validators import MAX_QUERY_CHARS, check_query

_CONVERSATION, _MESSAGE = fields_of(ConversationSerializer), fields_of(MessageSerializer)
_RESULT: dict[str, Any] = {
    "kind": ChoiceField(choices=["message", "title"]),
    "rank": FloatField(help_text="Higher is better; for ordering alone."),
    "snippet": CharField(help_text="HTML that is safe to show: escaped text, matches in `<mark>`."),
    "conversation": inline_serializer(
        "FoundConversation", {name: _CONVERSATION[name] for name in ("id", "user_id", "title")}
    ),
    "message": inline_serializer(
        "FoundMessage",
        {name: _MESSAGE[name] for name in ("id", "sequence", "role", "created_at")},
        allow_null=True,
        help_text="Null when the title matched.",
    ),
}
_PREVIOUS = ("previous", "previous_cursor")
_FORWARD_ONLY = "Always null: search pages forward only."
_RESPONSE = inline_serializer(
    "Search",
    {
        "results": inline_serializer("SearchResult", _RESULT, many=True),
        **page_links(),
        **{name: CharField(allow_null=True, help_text=_FORWARD_ONLY) for name in _PREVIOUS},
    },
)
_NAMES = ["q", "user_id", "conversation_id", "role", "rating", "created_after", "created_before"]
_RATINGS = {"1": 1, "-1": -1}
_ROLES: dict[str, str] = {role: role for role in Role.values}


@extend_schema_view(
    list=extend_schema(
        operation_id="search",
        summary="Search messages and titles, best match first",
        parameters=parameters.SEARCH,
        responses=_RESPONSE,
    )
)
@extend_schema(tags=["search"])
class SearchViewSet(ApiViewSet):
    queryset = Conversation.objects.none()
    serializer_class = type(_RESPONSE)
    throttle_kinds = {"list": "search"}
    filterset_class = MarkFilters
    query_names = {"list": [*_NAMES, *MarkFilters.names(), "cursor", "page_size"]}
    read_on_replicas = ("list",)

    def list(self, request: Request) -> Response:
        query = request.query_params
        text = query.get("q", "")
        check_query(text)
        scope = self._scope(request)
        if scope is None:
            return Response({"results": [], **NO_LINKS})

        def fetch(cursor: Cursor, limit: int) -> list[Row]:
            at: Any = cursor.at
            rows = search_conversations(text=text, scope=scope, limit=limit, at=at)
            return [_found(row, self.caller.namespace) for row in rows]

        names = [*_NAMES, *MarkFilters.asked(query)]
        rows, links = cut_page(
            request,
            f"search:{self.caller.user.pk}:{scope.owner_id}:{query_string_of(query, names)}",
            ("rank", "key"),
            fetch,
            both=False,
        )
        return Response(
            {"results": [{name: row[name] for name in _SHOWN} for row in rows], **links}
        )

    def _scope(self, request: Request) -> SearchScope | None:
        """Where to search; None for a user not seen so far."""
        query = request.query_params
        role = choice_of(request, "role", _ROLES) if "role" in query else None
        rating = choice_of(request, "rating", _RATINGS) if "rating" in query else None
        after = time_of(query.get("created_after"), "created_after")
        before = time_of(query.get("created_before"), "created_before")
        named = query.get("conversation_id")
        conversation_id = uuid_of(named, "conversation_id") if named is not None else None
        owner_id = self._owner_id(query.get("user_id"), conversation_id)
        if owner_id is None and query.get("user_id") != EVERYBODY:
            MarkFilters.narrow(query, Conversation.objects.none())
            return None
        return SearchScope(
            owner_id=owner_id,
            visible_to=self.access if owner_id is None else None,
            conversation_id=conversation_id,
            role=role,
            rating=rating,
            conversations=self._marked(owner_id),
            created_after=after,
            created_before=before,
        )

    def _marked(self, owner_id: int | None) -> QuerySet[Conversation] | None:
        """The conversations with the tags and metadata asked for; None where none are."""
        query = self.request.query_params
        if not MarkFilters.asked(query):
            return None
        rows = Conversation.objects.visible_to(self.access)
        return MarkFilters.narrow(
            query, rows if owner_id is None else Conversation.objects.owned_by(owner_id)
        )

    def _owner_id(self, user: str | None, conversation_id: uuid.UUID | None) -> int | None:
        """Whose chats to search: one's own, unless a conversation or somebody is named. A search
        of staff leaves its AccessRecord."""
        detail = {"query": self.request.query_params.get("q", "")[:MAX_QUERY_CHARS]}
        action = AccessAction.SEARCH
        if conversation_id is not None:
            holder = owner_of(self.access, conversation_id, action=action, detail=detail)
            check_is_there(conversation_id, holder.pk)
            if user is None:
                return holder.pk
        if user == EVERYBODY:
            check_everybody(self.access, action=action, detail=detail)
            return None
        owner = owner_to_read(self.access, user, action=action, detail=detail)
        return None if owner is None else owner.pk


_SHOWN = ("kind", "rank", "snippet", "conversation", "message")


def _found(row: Row, namespace: str) -> Row:
    message = None
    if row["message_id"] is not None:
        message = {
            "id": row["message_id"],
            "sequence": row["sequence"],
            "role": row["role"],
            "created_at": row["created_at"],
        }
    return {
        "kind": row["kind"],
        "rank": row["rank"],
        "key": row["key"],
        "snippet": row["snippet"],
        "conversation": {
            "id": row["conversation_id"],
            "user_id": name_of(row["username"], namespace),
            "title": row["title"],
        },
        "message": message,
    }
