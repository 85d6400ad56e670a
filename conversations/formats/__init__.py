"""Import and export formats, from and to plain dataclasses. Independent of Django."""

from conversations.formats.as_exported import exported_chats
from conversations.formats.chat import (
    AsExported,
    Chat,
    Malformed,
    RecordedBranch,
    RecordedChat,
    Rejected,
)
from conversations.formats.files import Files
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
from conversations.formats.reading import AUTO, read_files
from conversations.formats.reasoning import reasoning_of, reasoning_part
from conversations.formats.registry import AS_EXPORTED, FORMATS, Reader
from conversations.formats.source_ids import source_id
from conversations.formats.unpacking import Limits
from conversations.formats.writers import WRITERS, Writer

# By the value of `import_conversations --format`; an export has the same names.
READERS: dict[str, Reader] = {name: each.read for name, each in FORMATS.items()}

__all__ = [
    "AS_EXPORTED",
    "AUTO",
    "COST_PLACES",
    "DRAFT_FIELDS",
    "FORMATS",
    "READERS",
    "RECORDED_FIELDS",
    "WRITERS",
    "AsExported",
    "Chat",
    "Files",
    "Limits",
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
    "exported_chats",
    "read_files",
    "reasoning_of",
    "reasoning_part",
    "source_id",
]
