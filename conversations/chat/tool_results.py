"""What tools return: text in the record, a JSON value where that text is one."""

from __future__ import annotations

import json
from typing import Any

LONGEST_RESULT = 100_000


def as_text(value: object) -> str:
    """A tool's result as the text that the model reads and the record keeps."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > LONGEST_RESULT:
        text = text[:LONGEST_RESULT] + "… (cut)"
    return storable(text)


def storable(text: str) -> str:
    """The text without NUL and lone surrogates, which PostgreSQL cannot hold."""
    if "\x00" not in text and text.isascii():
        return text
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def parsed(text: str) -> Any:
    """The JSON value that a result's text is, or the text itself.

    MCP servers wrap each result as `{"type": "text", "text": …}`: what is in it counts.
    """
    value = _loads(text)
    if isinstance(value, dict) and value.get("type") == "text" and "text" in value:
        return _loads(value["text"])
    return value


def task_id_of(value: Any) -> str | None:
    """The id of the task that a result is about, where it names one."""
    found = value.get("task_id") if isinstance(value, dict) else None
    return str(found) if isinstance(found, str | int) and found is not True else None


def _loads(text: Any) -> Any:
    if not isinstance(text, str) or text[:1] not in '{["-0123456789tfn':
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
