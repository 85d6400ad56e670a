"""Ids of new rows, and of rows that follow from another one."""

import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """A UUID version 7 (RFC 9562): it grows with time, so new rows land at their index's end."""
    return uuid7()


def derived_id(scope: uuid.UUID | int | str, name: str) -> uuid.UUID:
    """The id of what is called `name` within `scope`: UUID version 5 (RFC 9562).

    Anybody who knows both can derive it, so it names only rows inside of one conversation.
    """
    return uuid.uuid5(uuid.NAMESPACE_URL, f"urn:chatproject:{scope}:{name}")
