"""The title of a conversation, from its first user message."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from conversations.formats import MessageDraft
from conversations.models import Role

TITLE_CHARS = 80


def title_from(drafts: Iterable[MessageDraft]) -> str | None:
    """A line of at most TITLE_CHARS from the first user message with text, or None."""
    for draft in drafts:
        if draft.role == Role.USER and (text := draft.content[:2_000].strip()):
            return shortened(text)
    return None


def shortened(text: str) -> str:
    """One line of at most TITLE_CHARS characters, cut at a word boundary if possible."""
    line = " ".join(text.split())
    if len(line) <= TITLE_CHARS:
        return line
    # What follows further on changes nothing, and would take most of the time.
    cut = textwrap.shorten(line[: 2 * TITLE_CHARS], TITLE_CHARS, placeholder="…")
    return cut if len(cut) > 1 else line[: TITLE_CHARS - 1] + "…"
