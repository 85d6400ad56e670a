"""The search box of staff: which conversations match, and a snippet of each that shows why."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from conversations.models.search import SearchQuery, SearchScope, parse_query
from conversations.models.staff_search import StaffMatches, contents_of, match_for_staff
from conversations.services.search import check_query
from conversations.services.snippets import snippet_of


@dataclass(frozen=True, slots=True)
class StaffSearch:
    """A search that was carried out; `text` as it was typed."""

    text: str
    query: SearchQuery
    scope: SearchScope
    matches: StaffMatches
    in_content: bool

    def snippets(self, conversations: Iterable[uuid.UUID]) -> dict[uuid.UUID, tuple[int, str]]:
        """Of those found by a message: its sequence, and safe HTML. One query."""
        newest = self.matches.newest
        places = [(key, message) for key in conversations if (message := newest.get(key))]
        return {
            key: (sequence, snippet_of(content, self.query))
            for key, (sequence, content) in contents_of(places).items()
        }


def search_for_staff(*, text: str, owner_id: int | None, content: bool) -> StaffSearch:
    """Raises InvalidValue for a text that cannot be searched for.

    `content` says whether this person may see what was said: otherwise no message is looked at.
    """
    check_query(text)
    query, scope = parse_query(text), SearchScope(owner_id=owner_id)
    matches = match_for_staff(query, scope, content=content)
    return StaffSearch(text, query, scope, matches, in_content=content)
