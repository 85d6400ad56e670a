"""The piece of a long message that a search found it by."""

from __future__ import annotations

import uuid

from django.db.models.functions import Substr

from conversations.models.message import Message
from conversations.selectors.search_sql import SearchQuery
from conversations.selectors.snippets import has_match

# As much of a message as is searched (migration 0003).
SEARCHED_CHARS = 1_000_000
_PIECE = 20_000
# Pieces overlap, so that no word is in two halves in both.
_OVERLAP = 200


def matching_excerpt(
    conversation_id: uuid.UUID, sequence: int, beginning: str, query: SearchQuery, *, read: int
) -> str:
    """`beginning`, which are the first `read` characters of the content, if something in it
    matches; else the first piece of the rest that does, "" without one. One query for the rest of
    a longer text."""
    if has_match(beginning, query):
        return beginning
    if len(beginning) < read:
        return ""
    stored = Message.objects.filter(conversation_id=conversation_id, sequence=sequence)
    text = Substr("content", max(1, read - _OVERLAP), SEARCHED_CHARS)
    rest = stored.values_list(text, flat=True).first() or ""
    starts = range(0, len(rest), _PIECE - _OVERLAP)
    pieces = (rest[start : start + _PIECE] for start in starts)
    return next((piece for piece in pieces if has_match(piece, query)), "")
