"""Ids as `/v1` writes and reads them: a prefix and the 32 hexadecimal digits of the UUID.

They are read leniently: with any prefix, or as plain UUIDs. What is none of it names nothing, and
so is not found.
"""

from __future__ import annotations

import re
import uuid

from conversations.services import NotFound
from conversations.services.errors import NO_SUCH_CONVERSATION

CONVERSATION = "conv"

_named = re.compile(r"(?:[a-z]{1,16}[_-])?([0-9a-f]{32})", re.IGNORECASE)


def name_with(prefix: str, id_: uuid.UUID) -> str:
    """`conv_…`, `msg_…`, `resp_…` or `chatcmpl-…` without its separator: the id behind a prefix."""
    return f"{prefix}_{id_.hex}"


def conversation_name(id_: uuid.UUID) -> str:
    return name_with(CONVERSATION, id_)


def uuid_in(text: str) -> uuid.UUID | None:
    """The UUID in an id; None if there is none."""
    found = _named.fullmatch(text)
    try:
        return uuid.UUID(found[1] if found else text)
    except ValueError:
        return None


def conversation_id_of(text: str, *, field: str | None = None) -> uuid.UUID:
    """The conversation that an id names. Raises NotFound."""
    found = uuid_in(text)
    if found is None:
        raise NotFound(NO_SUCH_CONVERSATION, field=field)
    return found
