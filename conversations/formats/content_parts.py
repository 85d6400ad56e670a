"""Lists of parts: the content of messages as OpenAI, Anthropic and LangChain have it.

Parts are kept as they are. This module checks their form and finds the text to read and search
and the reasoning in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from conversations.formats.chat import Malformed
from conversations.formats.checks import NOT_TEXT, as_text, required

NOT_A_PART = "Not a part: an object with a `type`, or a string."

TEXT_TYPES = frozenset({"text", "input_text", "output_text"})


def check_parts(at: str, parts: list[Any]) -> None:
    """Raise Malformed unless each part is an object with a `type`, or a string as in LangChain.

    A part of text has its text in `text`. Types that are not known are accepted.
    """
    for index, part in enumerate(parts):
        if not isinstance(part, str):
            _check_part(f"{at}.{index}", part)


def as_part(value: Any) -> Any:
    """The value if it is a part, else one that holds it."""
    return value if isinstance(value, dict) and are_parts([value]) else _held(value)


def _held(value: Any) -> dict[str, Any]:
    is_text = isinstance(value, str)
    return {"type": "text", "text": value} if is_text else {"type": "unknown", "value": value}


def file_part(file: dict[str, Any], text_key: str = "") -> dict[str, Any]:
    """A part for what an export says of an attached file: of text, if it has the text of the file,
    which the model was shown, under this key."""
    text = file.get(text_key)
    if not isinstance(text, str) or not text:
        return {"type": "file", "file": file}
    rest = {name: value for name, value in file.items() if name != text_key}
    return {"type": "text", "text": text, "file": rest}


def are_parts(value: object) -> bool:
    """Whether `check_parts` accepts the value, and it has any part."""
    try:
        if isinstance(value, list):
            check_parts("", value)
    except Malformed:
        return False
    return isinstance(value, list) and bool(value)


def _check_part(at: str, part: object) -> None:
    if not isinstance(part, dict):
        raise Malformed(at, NOT_A_PART)
    kind = as_text(f"{at}.type", required(f"{at}.type", part.get("type")))
    if kind in TEXT_TYPES and not isinstance(part.get("text"), str):
        raise Malformed(f"{at}.text", NOT_TEXT)


def text_of(parts: Iterable[Any]) -> str:
    """The text to read, a line or more for each part that has any; not what the model thought."""
    return "\n".join(text for part in parts if (text := _text_of_part(part)) is not None)


def _text_of_part(part: Any) -> str | None:
    if not isinstance(part, dict):
        return part if isinstance(part, str) else None
    kind = part.get("type")
    if kind == "tool_result" or (kind == "message" and "content" in part):
        return _text_inside(part["content"]) if "content" in part else None
    return _own_text(part)


def _text_inside(content: object) -> str | None:
    """The text of the parts in a tool result or in a message of a Response, which have none."""
    if isinstance(content, str):
        return content
    texts = map(_own_text, content) if isinstance(content, list) else ()
    found = [text for text in texts if text is not None]
    return "\n".join(found) if found else None


def _own_text(part: Any) -> str | None:
    """The text that a part has directly."""
    if not isinstance(part, dict):
        return part if isinstance(part, str) else None
    kind = part.get("type")
    if not isinstance(kind, str):
        return None
    if kind in TEXT_TYPES:
        text = part.get("text")
    elif kind.endswith(("_call", "_call_output")):
        text = part.get("output")
    else:
        text = part.get("refusal") if kind == "refusal" else None
    return text if isinstance(text, str) else None
