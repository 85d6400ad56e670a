"""Full-text search over HTTP: /api/search."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api import parameters, serializers
from conversations.api.pages import Position, cut_page
from conversations.api.reads import visible_conversation
from conversations.api.times import BAD_TIME, moment_of
from conversations.api.views import ApiViewSet, choice_of, said, uuid_of
from conversations.models import Conversation, Role
from conversations.models.rows import Row
from conversations.models.search import SearchScope
from conversations.services import readable_owner_id
from conversations.services.search import (
    Hit,
    check_query,
    record_search,
    search_conversations,
)

EVERYBODY = "*"
NOT_EVERYBODY = "Only a trusted client or staff may search everybody's conversations."
_NAMES = ["q", "user_id", "conversation_id", "role", "created_after", "created_before"]
_ROLES: dict[str, str] = {role: role for role in Role.values}


@extend_schema_view(
    list=extend_schema(
        operation_id="search",
        summary="Search messages and titles, best match first",
        parameters=parameters.SEARCH,
        responses=serializers.SearchSerializer,
    )
)
@extend_schema(tags=["search"])
class SearchViewSet(ApiViewSet):
    queryset = Conversation.objects.none()
    serializer_class = serializers.SearchSerializer
    throttle_kinds = {"list": "search"}
    query_names = {"list": [*_NAMES, "cursor", "page_size"]}

    def list(self, request: Request) -> Response:
        query = request.query_params
        text = query.get("q", "")
        check_query(text)
        scope = self._scope(request)
        if scope is None:
            return Response({"results": [], "next": None, "previous": None})

        def fetch(position: Position, limit: int) -> list[Row]:
            at: Any = position.at
            hits = search_conversations(text=text, scope=scope, limit=limit, at=at)
            return [_found(hit) for hit in hits]

        page = cut_page(
            request, f"search:{scope}:{said(query, _NAMES)}", ("rank", "key"), fetch, both=False
        )
        record_search(
            caller=self.caller,
            text=text,
            scope=scope,
            address=self.client_address,
            reason=self.access_reason,
        )
        results = [{name: row[name] for name in _SHOWN} for row in page.rows]
        return Response({"results": results, "next": page.next, "previous": None})

    def _scope(self, request: Request) -> SearchScope | None:
        """Where to search; None for a user not seen so far."""
        query = request.query_params
        role = choice_of(request, "role", _ROLES) if "role" in query else None
        conversation = self._conversation(query.get("conversation_id"))
        owner_id = self._owner(query.get("user_id"), conversation)
        if owner_id is None and query.get("user_id") not in (None, EVERYBODY):
            return None
        return SearchScope(
            owner_id=owner_id,
            conversation_id=conversation["id"] if conversation else None,
            role=role,
            created_after=_time(query.get("created_after"), "created_after"),
            created_before=_time(query.get("created_before"), "created_before"),
        )

    def _conversation(self, text: str | None) -> Row | None:
        if text is None:
            return None
        return visible_conversation(self.caller, uuid_of(text, "conversation_id"))

    def _owner(self, user: str | None, conversation: Row | None) -> int | None:
        """Whose chats to search: one's own, unless a conversation or somebody is named."""
        if user == EVERYBODY:
            if not self.caller.may_read_any:
                raise ValidationError(
                    {"user_id": [ErrorDetail(NOT_EVERYBODY, "permission_denied")]}
                )
            return None
        if user is None and conversation is not None:
            return int(conversation["user_id"])
        return readable_owner_id(self.caller, user)


_SHOWN = ("kind", "rank", "snippet", "conversation", "message")


def _found(hit: Hit) -> Row:
    row = hit.row
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
        "snippet": hit.snippet,
        "conversation": {
            "id": row["conversation_id"],
            "user_id": row["user_id"],
            "title": row["title"],
        },
        "message": message,
    }


def _time(text: str | None, field: str) -> datetime | None:
    if text is None:
        return None
    try:
        return moment_of(text)
    except ValueError:
        raise ValidationError({field: [ErrorDetail(BAD_TIME, "invalid")]}) from None
