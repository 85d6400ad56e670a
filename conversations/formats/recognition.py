"""Which other known format the beginning of a file looks like, by the names of its JSON keys."""

from __future__ import annotations

import re

BYTES_READ = 64 * 1024

# A name in a string that holds JSON is followed by a backslash, and does not count.
_KEY = re.compile(rb'"(\w+)"\s*:')
_KEYS_OF: dict[str, set[bytes]] = {
    "ShareGPT": {b"conversations", b"from", b"value"},
    "a ChatGPT export": {b"mapping", b"create_time"},
    "a Claude export": {b"chat_messages"},
    "a LibreChat export": {b"conversationId", b"messageId"},
    "an Open WebUI export": {b"chat", b"history"},
}


def other_format(beginning: bytes) -> str | None:
    """Its name for people, or None; only the first BYTES_READ are looked at."""
    found = set(_KEY.findall(beginning[:BYTES_READ]))
    return next((name for name, keys in _KEYS_OF.items() if keys <= found), None)
