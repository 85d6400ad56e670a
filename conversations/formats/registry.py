"""The formats that can be imported: one row each, in the order in which a file is recognised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from conversations.formats.as_exported import read_exported
from conversations.formats.chat import Chat, Rejected
from conversations.formats.chatgpt import looks_like_chatgpt, read_chatgpt
from conversations.formats.claude import looks_like_claude, read_claude
from conversations.formats.claude_code import looks_like_claude_code, read_claude_code
from conversations.formats.codex import looks_like_codex, read_codex
from conversations.formats.copilot import looks_like_copilot, read_copilot
from conversations.formats.files import Wanted
from conversations.formats.gemini import looks_like_gemini, read_gemini
from conversations.formats.json_export import has_messages, looks_like_json, read_json
from conversations.formats.librechat import looks_like_librechat, read_librechat
from conversations.formats.llm import looks_like_llm, read_llm
from conversations.formats.lmsys import looks_like_lmsys, read_lmsys
from conversations.formats.oasst import looks_like_oasst, read_oasst
from conversations.formats.ollama import looks_like_ollama, read_ollama
from conversations.formats.openai import looks_like_openai, read_openai
from conversations.formats.openwebui import looks_like_openwebui, read_openwebui
from conversations.formats.sharegpt import looks_like_sharegpt, read_sharegpt
from conversations.formats.ultrachat import looks_like_ultrachat, read_ultrachat
from conversations.formats.wildchat import looks_like_wildchat, read_wildchat

Reader = Callable[[BinaryIO], Iterator[Chat | Rejected]]
Predicate = Callable[[dict[str, Any]], bool]

_JSON = (".json", ".jsonl", ".ndjson", ".parquet")
JSON_FILES = Wanted(endings=_JSON)
# An export of ChatGPT or Claude has other files too, which hold no conversations.
CONVERSATIONS_FILES = Wanted(endings=_JSON, names=(r"conversations(?:-\d+)?\.json",))
# Google's names of files are in the language of the account.
ACTIVITY_FILES = Wanted(endings=(".json",), names=(r"myactivity\.json",))
DATABASES = Wanted(endings=(".db", ".sqlite", ".sqlite3"))


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
    Format("claude", "a Claude export", read_claude, looks_like_claude, CONVERSATIONS_FILES),
    Format("openwebui", "an Open WebUI export", read_openwebui, looks_like_openwebui),
    Format("librechat", "a LibreChat export", read_librechat, looks_like_librechat),
    Format("claude_code", "a session of Claude Code", read_claude_code, looks_like_claude_code),
    Format("codex", "a session of Codex", read_codex, looks_like_codex),
    Format("copilot", "a session of VS Code's Copilot", read_copilot, looks_like_copilot),
    Format("gemini", "Google's export of Gemini", read_gemini, looks_like_gemini, ACTIVITY_FILES),
    Format("llm", "a log of llm", read_llm, looks_like_llm, DATABASES),
    Format("ollama", "chats of Ollama's app", read_ollama, looks_like_ollama, DATABASES),
    Format("sharegpt", "ShareGPT", read_sharegpt, looks_like_sharegpt),
    Format("wildchat", "WildChat", read_wildchat, looks_like_wildchat),
    Format("lmsys", "LMSYS-Chat-1M", read_lmsys, looks_like_lmsys),
    Format("ultrachat", "UltraChat", read_ultrachat, looks_like_ultrachat),
    Format("json", "an export of this project", read_json, looks_like_json, accepts=has_messages),
    Format("openai", "OpenAI chat messages", read_openai, looks_like_openai),
)

# By the value of `import_conversations --format`.
FORMATS = {row.name: row for row in ROWS}
FORMATS["jsonl"] = FORMATS["json"]

# Ours again, to be stored as it was: not for a file of somebody else, and so in no list of formats.
AS_EXPORTED = "as exported"
EXPORTED = Format("json", "an export of this project", read_exported, looks_like_json)
