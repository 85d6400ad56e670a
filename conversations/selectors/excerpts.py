"""The part of a long message that contains a match."""

from __future__ import annotations

import uuid

from django.db.models.functions import Substr

from conversations.models.message import Message
from conversations.selectors.search_sql import SearchQuery
from conversations.selectors.snippets import has_match

# The tsvector is built from the first this many characters of a message (migration 0003).
SEARCHED_CHARS = 1_000_000
_CHUNK_CHARS = 20_000
# Chunks overlap, so that every word is whole in one of them.
_OVERLAP_CHARS = 200


# The owner, conversation and sequence of a message.
MessagePlace = tuple[int, uuid.UUID, int]


def matching_excerpt(place: MessagePlace, beginning: str, query: SearchQuery, *, read: int) -> str:
    """`beginning` (the first `read` characters of the content) if it has a match, else the first
    later chunk that has one, else "". One SQL query if the content is longer than `read`."""
    if has_match(beginning, query):
        return beginning
    if len(beginning) < read:
        return ""
    owner_id, conversation_id, sequence = place
    stored = Message.objects.of(owner_id, conversation_id).filter(sequence=sequence)
    text = Substr("content", max(1, read - _OVERLAP_CHARS), SEARCHED_CHARS)
    rest = stored.values_list(text, flat=True).first() or ""
    starts = range(0, len(rest), _CHUNK_CHARS - _OVERLAP_CHARS)
    chunks = (rest[start : start + _CHUNK_CHARS] for start in starts)
    return next((chunk for chunk in chunks if has_match(chunk, query)), "")
