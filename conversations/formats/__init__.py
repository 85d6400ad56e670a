"""Import and export formats: pure dataclasses in, text out. No Django."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from conversations.formats.chat import Chat, ChatMessage, Malformed, Rejected
from conversations.formats.json_export import read_json
from conversations.formats.openai import read_openai
from conversations.formats.record import RecordedChat, RecordedMessage, RecordedReview
from conversations.formats.writers import WRITERS, Writer

Reader = Callable[[BinaryIO], Iterator[Chat | Rejected]]

# By the name that `import_conversations --format` takes, which is that of the export.
READERS: dict[str, Reader] = {"openai": read_openai, "json": read_json}

__all__ = [
    "READERS",
    "WRITERS",
    "Chat",
    "ChatMessage",
    "Malformed",
    "Reader",
    "RecordedChat",
    "RecordedMessage",
    "RecordedReview",
    "Rejected",
    "Writer",
]
