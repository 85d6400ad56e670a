"""The search of the admin's conversation list: conversations that match by message, title, owner
or id, and a snippet of each."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q, Sum

from conversations.db.replicas import read_connection
from conversations.models.conversation_count import ConversationCount
from conversations.models.message import Message
from conversations.selectors.excerpts import MessagePlace, matching_excerpt
from conversations.selectors.search_sql import (
    MAX_PHRASE_RECHECKS,
    SearchQuery,
    SearchScope,
    compile_query,
    has_phrase,
    included_terms,
    newest_first,
    parse_query,
)
from conversations.selectors.snippets import has_match, snippet_of

# Only the newest this many matching messages, and matching titles, are considered.
MAX_MATCHES = 2_000
_MAX_OWNERS = 50
OWNERS_SHOWN = 3
_MIN_NAME_CHARS = 2
# Snippets of the list are cut from the first this many characters of a message, where these match.
SNIPPET_SOURCE_CHARS = 20_000


# The owner, conversation and id of a message.
MessageKey = tuple[int, uuid.UUID, uuid.UUID]


@dataclass(frozen=True, slots=True)
class StaffSearch:
    """The result of a search.

    `text` is as it was entered; `in_content` says whether messages were searched. `newest_match`
    maps each conversation found to its newest matching message, or to None where only the title
    or the owner matches. `bounded`: older matches were left out, since there were more than
    MAX_MATCHES, or more than MAX_PHRASE_RECHECKS messages with the words of a phrase.
    """

    text: str
    query: SearchQuery
    in_content: bool
    newest_match: dict[uuid.UUID, MessageKey | None]
    bounded: bool = False

    def snippets(self, conversations: Iterable[uuid.UUID]) -> dict[uuid.UUID, tuple[int, str]]:
        """For each of these that a message matches: its sequence and a snippet (safe HTML).

        One SQL query, and one for each message whose first characters have no match. Leaves out
        messages that match only by the name of their owner, which their text does not contain.
        """
        newest = self.newest_match
        keys = [message for key in conversations if (message := newest.get(key))]
        found = {}
        for place, beginning in _contents_of(keys):
            text = matching_excerpt(place, beginning, self.query, read=SNIPPET_SOURCE_CHARS)
            if text:
                _, conversation_id, sequence = place
                found[conversation_id] = (sequence, snippet_of(text, self.query))
        return found

    def title_snippet(self, title: str) -> str:
        """The title as safe HTML with its matches marked; "" if it has none."""
        return snippet_of(title, self.query) if has_match(title, self.query) else ""


def search_for_staff(*, text: str, owner_id: int | None, content: bool) -> StaffSearch:
    """Search titles and owners' names and, if `content`, messages; of one owner or (None) of all.

    `content` must be False unless the caller may read messages. `text` must have passed
    `services.validators.check_query`.
    """
    query, scope = parse_query(text), SearchScope(owner_id=owner_id)
    owners = _owners_by_term(query)
    tsqueries = compile_query(query, scope, owners)
    if tsqueries is None:
        return StaffSearch(text, query, content, {})
    without_owners = compile_query(query, scope) if owners else None
    max_likely = MAX_PHRASE_RECHECKS if has_phrase(tsqueries) else MAX_MATCHES
    values: dict[str, Any] = {
        **tsqueries,
        "words": without_owners["matched"] if without_owners else None,
        "max_likely": max_likely,
        "max_matches": MAX_MATCHES,
    }
    statement = _TITLES
    if content:
        newest = newest_first(tsqueries, scope, limit=max_likely)
        statement = _CONTENT.replace("{newest}", newest)
    with read_connection().cursor() as cursor:
        cursor.execute(statement, values)
        rows = cursor.fetchall()
    return StaffSearch(
        text,
        query,
        content,
        {
            conversation: (owner, conversation, message) if message else None
            for owner, conversation, message, _, _ in rows
            if conversation
        },
        bounded=any(matches >= MAX_MATCHES or likely >= max_likely for *_, matches, likely in rows),
    )


def _owners_by_term(query: SearchQuery) -> dict[str, list[int]]:
    """For each term, the ids of users whose username starts with it; at most _MAX_OWNERS users."""
    terms = [term.text for term in included_terms(query) if len(term.text) >= _MIN_NAME_CHARS]
    condition = Q(pk__in=())
    for term in terms:
        condition |= Q(username__startswith=term)
    users = User.objects.filter(condition).order_by().values_list("pk", "username")[:_MAX_OWNERS]
    owners: dict[str, list[int]] = {}
    for key, username in users:
        for term in terms:
            if username.startswith(term):
                owners.setdefault(term, []).append(key)
    return owners


def owners_by_name(text: str) -> list[tuple[str, int]]:
    """At most OWNERS_SHOWN users whose name is the text, or else begins with it, and how many
    conversations each has. Two queries."""
    text = text.strip().replace("\0", "")
    if len(text) < _MIN_NAME_CHARS:
        return []
    named = User.objects.order_by().values_list("pk", "username")
    longer = named.filter(username__startswith=text).exclude(username=text)
    found = dict(named.filter(username=text).union(longer[:OWNERS_SHOWN], all=True))
    parts = ConversationCount.objects.filter(user_id__in=found).order_by().values_list("user_id")
    counts = dict(parts.annotate(Sum("number")))
    owners = [(name, counts.get(key, 0)) for key, name in found.items()]
    return sorted(owners, key=lambda owner: (owner[0] != text, owner[0]))[:OWNERS_SHOWN]


def conversations_with_id(wanted: uuid.UUID) -> list[uuid.UUID]:
    """`wanted` as the id of a conversation, and the conversation of a message with this id."""
    conversations = Message.objects.filter(id=wanted).values_list("conversation_id", flat=True)
    return [wanted, *conversations[:1]]


def _contents_of(keys: Sequence[MessageKey]) -> list[tuple[MessagePlace, str]]:
    """Place and first characters of each of these messages."""
    if not keys:
        return []
    with read_connection().cursor() as cursor:
        cursor.execute(
            "SELECT user_id, conversation_id, sequence, left(content, %s) "
            "FROM conversations_message WHERE (user_id, conversation_id, id) IN %s",
            [SNIPPET_SOURCE_CHARS, tuple(keys)],
        )
        return [((owner, key, sequence), text) for owner, key, sequence, text in cursor.fetchall()]


def as_array(ids: Iterable[uuid.UUID]) -> str:
    """A PostgreSQL array literal: one parameter is parsed faster than thousands."""
    return "{" + ",".join(map(str, ids)) + "}"


# The newest rows first, as in `search_sql`. A row has the owner, the conversation, its matching
# message, the number of matches and the number of rows of `likely`; the last number is in a row
# without a conversation. A message that contains the words is preferred to one that matches by its
# owner.
_TITLES = """
    SELECT user_id, id AS conversation_id, NULL::uuid AS id, count(*) OVER () AS found, 0 AS likely
    FROM (
        SELECT user_id, id FROM conversations_conversation WHERE search @@ %(matched)s::tsquery
        ORDER BY updated_at DESC LIMIT %(max_matches)s
    ) titles
"""
_CONTENT = f"""
    WITH likely AS MATERIALIZED (
        SELECT user_id, conversation_id, id, created_at, search @@ %(matched)s::tsquery AS is_match,
            %(words)s::tsquery IS NULL OR search @@ %(words)s::tsquery AS by_words
        FROM conversations_message
        WHERE search @@ %(likely)s::tsquery ORDER BY {{newest}} DESC LIMIT %(max_likely)s
    ), messages AS MATERIALIZED (
        SELECT user_id, conversation_id, id, created_at, by_words FROM likely
        WHERE is_match ORDER BY created_at DESC LIMIT %(max_matches)s
    ), titles AS ({_TITLES}), matches AS (
        SELECT user_id, conversation_id, id, created_at, by_words, count(*) OVER () AS found
        FROM messages
        UNION ALL
        SELECT user_id, conversation_id, id, NULL, false, found FROM titles
    )
    (SELECT DISTINCT ON (conversation_id) user_id, conversation_id, id, found, 0 FROM matches
     ORDER BY conversation_id, by_words DESC, created_at DESC NULLS LAST)
    UNION ALL
    SELECT NULL, NULL, NULL, 0, count(*) FROM likely
"""  # noqa: S608 (no value comes from outside)
