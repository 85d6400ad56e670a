"""The formats that can be imported: one row each, in the order in which a file is recognised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from conversations.formats.chat import Chat, Rejected
from conversations.formats.chatgpt import looks_like_chatgpt, read_chatgpt
from conversations.formats.files import Wanted
from conversations.formats.json_export import has_messages, looks_like_json, read_json
from conversations.formats.oasst import looks_like_oasst, read_oasst
from conversations.formats.openai import looks_like_openai, read_openai

Reader = Callable[[BinaryIO], Iterator[Chat | Rejected]]
Predicate = Callable[[dict[str, Any]], bool]

_JSON = (".json", ".jsonl", ".ndjson")
JSON_FILES = Wanted(endings=_JSON)
# An export of ChatGPT or Claude has other files too, which hold no conversations.
CONVERSATIONS_FILES = Wanted(names=(r"conversations(?:-\d+)?\.json",), endings=_JSON)


class Format(NamedTuple):
    """`label` is its name in "This looks like …"; `looks_like` says of a value of a file whether it
    is of this format (`recognition.py`). `wanted` are its files in a folder or zip. `accepts` says
    it of values that may also be of another format, if this one is named."""

    name: str
    label: str
    read: Reader
    looks_like: Predicate
    wanted: Wanted = JSON_FILES
    accepts: Predicate | None = None

    def may_be(self, value: dict[str, Any]) -> bool:
        return self.looks_like(value) or (self.accepts is not None and self.accepts(value))


# In order: the keys of the last ones are also those of others.
ROWS = (
    Format("chatgpt", "a ChatGPT export", read_chatgpt, looks_like_chatgpt, CONVERSATIONS_FILES),
    Format("oasst", "OpenAssistant's trees", read_oasst, looks_like_oasst),
    Format("json", "an export of this project", read_json, looks_like_json, accepts=has_messages),
    Format("openai", "OpenAI chat messages", read_openai, looks_like_openai),
)

# By the value of `import_conversations --format`.
FORMATS = {row.name: row for row in ROWS}
FORMATS["jsonl"] = FORMATS["json"]
