"""What an export says beyond our columns: kept in the metadata of a conversation, or in `extra`."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from typing import Any

from conversations.formats.message import MessageDraft

# Metadata is read with every list of conversations and limited in size: a longer value, such as
# the instructions of an agent, is kept with the first message.
MAX_METADATA_CHARS = 4_096

_EMPTY: tuple[Any, ...] = (None, "", [], {})

Values = dict[str, Any]


def unmapped(data: Values, taken: Container[str]) -> Values:
    """The values that are not `taken`, without empty ones."""
    return {
        name: value for name, value in data.items() if name not in taken and value not in _EMPTY
    }


def add_extra(draft: MessageDraft, more: Values) -> None:
    """Add to what the draft has in `extra`."""
    if more:
        draft.extra = (draft.extra or {}) | more


def as_metadata(values: Values, drafts: Sequence[MessageDraft]) -> Values:
    """The values that are short; the others become `extra["conversation"]` of the first draft."""
    large = {name: value for name, value in values.items() if _is_large(value)} if drafts else {}
    if large:
        add_extra(drafts[0], {"conversation": large})
    return {name: value for name, value in values.items() if name not in large}


def _is_large(value: Any) -> bool:
    if isinstance(value, int | float):
        return False
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except RecursionError:  # the services refuse it, and name its place
        return True
    return len(text) > MAX_METADATA_CHARS
