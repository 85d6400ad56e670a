"""Identity: time-ordered ids for new rows, derived ids for writes that can be repeated."""

import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """A UUID version 7 (RFC 9562): it grows with time, so new rows land at their index's end."""
    return uuid7()


def id_from_key(scope: uuid.UUID | int | str, key: str) -> uuid.UUID:
    """The id that `key` stands for within `scope` (an owner's or a conversation's id).

    UUID version 5 (RFC 9562): the same scope and key always give the same id, so a repeated
    write finds its own row and no table of keys is needed.
    """
    return uuid.uuid5(uuid.NAMESPACE_URL, f"urn:chatproject:{scope}:{key}")
