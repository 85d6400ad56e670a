"""Import and export formats, from and to plain dataclasses. Independent of Django."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from conversations.formats.chat import Chat, Malformed, RecordedBranch, RecordedChat, Rejected
from conversations.formats.chatgpt import read_chatgpt
from conversations.formats.claude import read_claude
from conversations.formats.claude_code import read_claude_code
from conversations.formats.codex import read_codex
from conversations.formats.copilot import read_copilot
from conversations.formats.gemini import read_gemini
from conversations.formats.json_export import read_json
from conversations.formats.librechat import read_librechat
from conversations.formats.message import (
    COST_PLACES,
    DRAFT_FIELDS,
    RECORDED_FIELDS,
    MessageDraft,
    RecordedMessage,
    RecordedReview,
    cost_as_text,
)
from conversations.formats.message_reader import as_own_fields
from conversations.formats.oasst import read_oasst
from conversations.formats.openai import read_openai
from conversations.formats.openwebui import read_openwebui
from conversations.formats.reasoning import reasoning_of, reasoning_part
from conversations.formats.writers import WRITERS, Writer

Reader = Callable[[BinaryIO], Iterator[Chat | Rejected]]

# By the value of `import_conversations --format`; an export has the same names.
READERS: dict[str, Reader] = {
    "openai": read_openai,
    "jsonl": read_json,
    "json": read_json,
    "oasst": read_oasst,
    "chatgpt": read_chatgpt,
    "claude": read_claude,
    "openwebui": read_openwebui,
    "librechat": read_librechat,
    "claude_code": read_claude_code,
    "codex": read_codex,
    "copilot": read_copilot,
    "gemini": read_gemini,
}

__all__ = [
    "COST_PLACES",
    "DRAFT_FIELDS",
    "READERS",
    "RECORDED_FIELDS",
    "WRITERS",
    "Chat",
    "Malformed",
    "MessageDraft",
    "Reader",
    "RecordedBranch",
    "RecordedChat",
    "RecordedMessage",
    "RecordedReview",
    "Rejected",
    "Writer",
    "as_own_fields",
    "cost_as_text",
    "reasoning_of",
    "reasoning_part",
]
