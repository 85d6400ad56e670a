"""Searching inside one conversation."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from django.utils.safestring import SafeString

from conversations.admin.conversation.opened import Opened
from conversations.admin.formatting import visible_html
from conversations.admin.transcript.navigation import Place
from conversations.models import AccessAction, AccessContext, Role
from conversations.selectors.search import search_conversations
from conversations.selectors.search_sql import SearchScope
from conversations.services import ServiceError, owner_of
from conversations.services.validators import MAX_QUERY_CHARS, check_query

AT_MOST = 50


@dataclass(frozen=True, slots=True)
class Found:
    """One message that matches."""

    sequence: int
    role: str
    snippet: SafeString
    url: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What was looked for, the best matches in the order of the conversation, or why none."""

    text: str
    found: list[Found]
    refusal: str = ""

    @property
    def at_most(self) -> int | None:
        return AT_MOST if len(self.found) == AT_MOST else None


def find_inside(
    request: HttpRequest, access: AccessContext, conversation: Opened
) -> Findings | None:
    """None when nothing is asked for. A look into others' chats leaves its record."""
    place = Place(request)
    if not (text := place.text("find")):
        return None
    try:
        check_query(text)
    except ServiceError as refusal:
        return Findings(text, [], refusal.detail)
    scope = SearchScope(owner_id=conversation.user_id, conversation_id=conversation.pk)
    detail = {"query": text[:MAX_QUERY_CHARS]}
    owner_of(access, conversation.pk, action=AccessAction.SEARCH, detail=detail)
    hits = search_conversations(text=text, scope=scope, limit=AT_MOST + 1)
    found = [
        Found(
            sequence=hit.row["sequence"],
            role=Role(hit.row["role"]).label,
            snippet=visible_html(hit.snippet),
            url=place.url(at=hit.row["sequence"]),
        )
        for hit in hits
        if hit.row["kind"] == "message"
    ]
    return Findings(text, sorted(found[:AT_MOST], key=lambda one: one.sequence))
