"""The search box of staff: which conversations match by message, title, owner or id, newest first,
and a snippet of each that shows why."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Count, Q

from conversations.models.conversation import Conversation
from conversations.models.message import Message
from conversations.selectors.excerpts import matching_excerpt
from conversations.selectors.search_sql import (
    PHRASE_LOOKS,
    SearchQuery,
    SearchScope,
    compile_query,
    parse_query,
)
from conversations.selectors.snippets import has_match, snippet_of

# Of more matching messages, and of more titles, the newest this many are looked at.
NEWEST = 2_000
_MOST_OWNERS = 50
OWNERS_SHOWN = 3
_SHORTEST_NAME = 2
# As much of a message as is read to cut a snippet for a list from.
SNIPPET_SOURCE_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class StaffMatches:
    """Conversations, each with the newest of its messages that match (None: title or owner).

    `bounded`: there were more than NEWEST matches, or more than PHRASE_LOOKS messages with the
    words of a phrase, and the older ones were left out.
    """

    newest: dict[uuid.UUID, uuid.UUID | None]
    bounded: bool = False


@dataclass(frozen=True, slots=True)
class StaffSearch:
    """A search that was carried out; `text` as it was typed."""

    text: str
    query: SearchQuery
    scope: SearchScope
    matches: StaffMatches
    in_content: bool

    def snippets(self, conversations: Iterable[uuid.UUID]) -> dict[uuid.UUID, tuple[int, str]]:
        """Of those found by a message: its sequence, and safe HTML. One query, and one for each
        text whose beginning has no match.

        Without those that were found by their owner's name: their messages do not have it.
        """
        newest = self.matches.newest
        places = [(key, message) for key in conversations if (message := newest.get(key))]
        found = {}
        for key, (sequence, beginning) in contents_of(places).items():
            text = matching_excerpt(key, sequence, beginning, self.query, read=SNIPPET_SOURCE_CHARS)
            if text:
                found[key] = (sequence, snippet_of(text, self.query))
        return found

    def title_snippet(self, title: str) -> str:
        """Safe HTML that shows the match in a title; "" where it has none."""
        return snippet_of(title, self.query) if has_match(title, self.query) else ""


def search_for_staff(*, text: str, owner_id: int | None, content: bool) -> StaffSearch:
    """`content` says whether this person may see what was said: otherwise no message is looked at.
    `services.validators.check_query` first.
    """
    query, scope = parse_query(text), SearchScope(owner_id=owner_id)
    matches = match_for_staff(query, scope, content=content)
    return StaffSearch(text, query, scope, matches, in_content=content)


def match_for_staff(query: SearchQuery, scope: SearchScope, *, content: bool) -> StaffMatches:
    """`content`: whether messages are searched too; else titles and owners alone."""
    owners = owners_named(query)
    compiled = compile_query(query, scope, owners)
    if compiled is None:
        return StaffMatches({})
    by_words = compile_query(query, scope) if owners else None
    looks = PHRASE_LOOKS if compiled.has_phrase else NEWEST
    values: dict[str, Any] = {
        "query": compiled.matched,
        "likely": compiled.likely,
        "words": by_words.matched if by_words else None,
        "looks": looks,
        "most": NEWEST,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CONTENT if content else _TITLES, values)
        rows = cursor.fetchall()
    return StaffMatches(
        {conversation: message for conversation, message, _, _ in rows if conversation},
        bounded=any(found >= NEWEST or looked >= looks for _, _, found, looked in rows),
    )


def owners_named(query: SearchQuery) -> dict[str, list[int]]:
    """For each term, the users whose name begins with it."""
    terms = [term.text for term in query.wanted if len(term.text) >= _SHORTEST_NAME]
    wanted = Q(pk__in=())
    for term in terms:
        wanted |= Q(username__startswith=term)
    users = User.objects.filter(wanted).order_by().values_list("pk", "username")[:_MOST_OWNERS]
    named: dict[str, list[int]] = {}
    for key, username in users:
        for term in terms:
            if username.startswith(term):
                named.setdefault(term, []).append(key)
    return named


def owners_by_name(text: str) -> list[tuple[str, int]]:
    """At most OWNERS_SHOWN users whose name is the text, or else begins with it, and how many
    conversations each has. Two queries."""
    text = text.strip().replace("\0", "")
    if len(text) < _SHORTEST_NAME:
        return []
    named = User.objects.order_by().values_list("pk", "username")
    longer = named.filter(username__startswith=text).exclude(username=text)
    found = dict(named.filter(username=text).union(longer[:OWNERS_SHOWN], all=True))
    theirs = Conversation.objects.filter(user_id__in=found).order_by().values_list("user_id")
    counts = dict(theirs.annotate(Count("pk")))
    owners = [(name, counts.get(key, 0)) for key, name in found.items()]
    return sorted(owners, key=lambda owner: (owner[0] != text, owner[0]))[:OWNERS_SHOWN]


def conversations_with_id(wanted: uuid.UUID) -> list[uuid.UUID]:
    """The conversation with this id, or that of the message with this id."""
    holders = Message.objects.filter(id=wanted).values_list("conversation_id", flat=True)
    return [wanted, *holders[:1]]


def contents_of(places: Sequence[tuple[uuid.UUID, uuid.UUID]]) -> dict[uuid.UUID, tuple[int, str]]:
    """By conversation, the sequence and beginning of the one message named with it."""
    if not places:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conversation_id, sequence, left(content, %s) FROM conversations_message "
            "WHERE (conversation_id, id) IN %s",
            [SNIPPET_SOURCE_CHARS, tuple(places)],
        )
        return {conversation: (place, text) for conversation, place, text in cursor.fetchall()}


def as_array(ids: Iterable[uuid.UUID]) -> str:
    """A PostgreSQL array as one parameter: thousands of placeholders take long to parse."""
    return "{" + ",".join(map(str, ids)) + "}"


# As in `search`, cut by age before anything else. Of the messages that match, one that has the
# words itself is shown rather than one whose owner is named so. The row without a conversation says
# how many messages were looked at, also where none of them matched.
_TITLES = """
    SELECT id, NULL::uuid, count(*) OVER (), 0 FROM (
        SELECT id FROM conversations_conversation WHERE search @@ %(query)s::tsquery
        ORDER BY updated_at DESC LIMIT %(most)s
    ) titles
"""
_CONTENT = f"""
    WITH likely AS MATERIALIZED (
        SELECT conversation_id, id, created_at, search @@ %(query)s::tsquery AS is_match,
            %(words)s::tsquery IS NULL OR search @@ %(words)s::tsquery AS by_words
        FROM conversations_message
        WHERE search @@ %(likely)s::tsquery ORDER BY created_at DESC LIMIT %(looks)s
    ), messages AS MATERIALIZED (
        SELECT conversation_id, id, created_at, by_words FROM likely
        WHERE is_match ORDER BY created_at DESC LIMIT %(most)s
    ), titles (conversation_id, id, found, looked) AS ({_TITLES}), matches AS (
        SELECT conversation_id, id, created_at, by_words, count(*) OVER () AS found FROM messages
        UNION ALL
        SELECT conversation_id, id, NULL, false, found FROM titles
    )
    (SELECT DISTINCT ON (conversation_id) conversation_id, id, found, 0 FROM matches
     ORDER BY conversation_id, by_words DESC, created_at DESC NULLS LAST)
    UNION ALL
    SELECT NULL, NULL, 0, count(*) FROM likely
"""  # noqa: S608 (no value comes from outside)
