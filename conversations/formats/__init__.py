"""Import and export formats: pure dataclasses in, text out. No Django."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from conversations.formats.chat import Chat, ChatMessage, Malformed, Rejected
from conversations.formats.openai import read_openai

Reader = Callable[[BinaryIO], Iterator[Chat | Rejected]]

# By the name that `import_conversations --format` takes.
READERS: dict[str, Reader] = {"openai": read_openai}

__all__ = ["READERS", "Chat", "ChatMessage", "Malformed", "Reader", "Rejected"]
