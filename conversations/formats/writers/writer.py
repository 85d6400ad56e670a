"""What an export format is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from conversations.formats.chat import RecordedChat


@dataclass(frozen=True, slots=True)
class Writer:
    """An export format: display name, file extension, content type, and how it is written.

    `write` gives the text of one conversation. A file of several has `begin`, the conversations
    with `between` between each two, and `end`; of a format with `one_a_file` each conversation is a
    file of its own, without these. `keeps_tree`: it is given all messages of a conversation with
    branches, otherwise a path. `json_as_text`: JSON columns are given as `JsonText`.
    `database_writes`: so may the database write most conversations, with the same bytes.
    """

    label: str
    extension: str
    content_type: str
    write: Callable[[RecordedChat], Iterator[str]]
    keeps_tree: bool = False
    begin: str = ""
    between: str = ""
    end: str = ""
    one_a_file: bool = False
    json_as_text: bool = False
    database_writes: bool = False
