"""UUIDs of new rows, and UUIDs derived from another id and a name."""

import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """A UUID version 7 (RFC 9562), ordered by time: inserts append to the primary key index."""
    return uuid7()


def derived_id(scope: uuid.UUID | int | str, name: str) -> uuid.UUID:
    """The UUID version 5 (RFC 9562) of `name` within `scope`.

    Anyone who knows both can derive it, so it is used only for rows inside one conversation.
    """
    return uuid.uuid5(uuid.NAMESPACE_URL, f"urn:chatproject:{scope}:{name}")
