"""Ids as `/v1` writes and reads them: a prefix and the 32 hexadecimal digits of the UUID.

They are read leniently: with any prefix, or as plain UUIDs. What is none of it names nothing, and
so is not found.
"""

from __future__ import annotations

import re
import uuid

from conversations.services import NotFound
from conversations.services.errors import NO_SUCH_CONVERSATION

_named = re.compile(r"(?:[a-z]{1,16}[_-])?([0-9a-f]{32})", re.IGNORECASE)
# One of several items of a message has a number, too.
_numbered = re.compile(r"[a-z]{1,16}_([0-9a-f]{32})_[0-9]{1,6}", re.IGNORECASE)


def conversation_name(id_: uuid.UUID) -> str:
    return f"conv_{id_.hex}"


def uuid_in(text: str) -> uuid.UUID | None:
    """The UUID in an id; None if there is none."""
    found = _named.fullmatch(text)
    try:
        return uuid.UUID(found[1] if found else text)
    except ValueError:
        return None


def message_id_in(item_id: str) -> tuple[uuid.UUID | None, bool]:
    """The message that an id of an item names, and whether it names one of several items of it."""
    if found := _numbered.fullmatch(item_id):
        return uuid.UUID(found[1]), True
    return uuid_in(item_id), False


def conversation_id_of(text: str, *, field: str | None = None) -> uuid.UUID:
    """The conversation that an id names. Raises NotFound."""
    found = uuid_in(text)
    if found is None:
        raise NotFound(NO_SUCH_CONVERSATION, field=field)
    return found
