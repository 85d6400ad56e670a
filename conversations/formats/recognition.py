"""Recognise other known formats by the JSON keys at the beginning of a file."""

from __future__ import annotations

import re

BYTES_READ = 64 * 1024

# Does not match keys of JSON inside a string, where the quote follows a backslash.
_KEY = re.compile(rb'"(\w+)"\s*:')
_KEYS_OF: dict[str, set[bytes]] = {
    "ShareGPT": {b"conversations", b"from", b"value"},
    "a ChatGPT export": {b"mapping", b"create_time"},
    "a Claude export": {b"chat_messages"},
    "a LibreChat export": {b"conversationId", b"messageId"},
    "an Open WebUI export": {b"chat", b"history"},
}


def other_format(beginning: bytes) -> str | None:
    """The display name of the format, or None. Checks the first BYTES_READ bytes."""
    found = set(_KEY.findall(beginning[:BYTES_READ]))
    return next((name for name, keys in _KEYS_OF.items() if keys <= found), None)
