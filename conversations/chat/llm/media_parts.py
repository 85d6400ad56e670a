"""Images and files in the parts of stored messages, as openai-agents takes them.

Read are the parts of OpenAI's Chat Completions (`image_url`, `file`) and Responses (`input_image`,
`input_file`) and Anthropic's blocks (`image`, `document`). What is addressed by https is passed on
as it is: the provider fetches it, this server never does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

# What they count against the budget of tokens: models count an image of a million pixels as 700
# to 1,600, and each page of a document as about 1,500.
TOKENS_PER_IMAGE = 1_000
TOKENS_PER_FILE = 3_000

LEFT_OUT = "[Not shown to you: {what}]"
# Stands for the parts of a message that are too long to be read for a turn.
UNREAD: dict[str, Any] = {"type": "unread"}
_TEXTS = ("text", "input_text", "output_text")
_REASONING = ("reasoning", "thinking", "redacted_thinking")
_KINDS = {
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "file": "file",
    "input_file": "file",
    "document": "file",
    "input_audio": "recording",
    "audio": "recording",
    "video_url": "video",
    "unread": "attachment",
}

Item = dict[str, Any]


def content_of(text: str, parts: Sequence[Any], *, sees: bool) -> str | list[Item]:
    """A message's text and parts for the model; text alone unless it `sees` and has something to.

    A line says what is left out. Where the text is that of the parts, their order is kept.
    """
    shown = [_as_object(part) for part in parts]
    shown = [part for part in shown if part.get("type") not in _REASONING]
    if sees and any(map(_media, shown)):
        return [item for part in _with_text(text, shown) if (item := _item(part))]
    said = text or "\n".join(filter(None, map(_text_of, shown)))
    return "\n".join(filter(None, [said, *map(_text_of_document, shown), _left_out(shown)]))


def size_of(item: Item) -> int:
    """The tokens of an item that is no text; 0 for text."""
    return {"input_image": TOKENS_PER_IMAGE, "input_file": TOKENS_PER_FILE}.get(item["type"], 0)


def _as_object(part: Any) -> Item:
    """LangChain has texts among its parts."""
    if isinstance(part, dict):
        return part
    return {"type": "text", "text": part if isinstance(part, str) else ""}


def _with_text(text: str, parts: list[Item]) -> list[Item]:
    """The parts, with the text ahead where theirs is another."""
    theirs = "".join(map(_text_of, parts))
    if not text or "".join(theirs.split()) == "".join(text.split()):
        return parts
    return [_as_object(text), *(part for part in parts if not _text_of(part))]


def _item(part: Item) -> Item | None:
    text = _text_of(part) or _text_of_document(part)
    if not text and (media := _media(part)):
        return media
    text = text or _left_out([part])
    return {"type": "input_text", "text": text} if text else None


def _text_of(part: Item) -> str:
    return _string(part.get("text")) if part.get("type", "text") in _TEXTS else ""


def _text_of_document(part: Item) -> str:
    source = part.get("source")
    if part.get("type") != "document" or not isinstance(source, dict):
        return ""
    return _string(source.get("data")) if source.get("type") == "text" else ""


def _media(part: Item) -> Item | None:
    """The part as it is sent; None where it cannot be."""
    kind = _KINDS.get(_string(part.get("type")))
    if kind == "image":
        return _image(part)
    return _file(part) if kind == "file" and not _text_of_document(part) else None


def _image(part: Item) -> Item | None:
    inner = part.get("image_url")
    image = inner if isinstance(inner, dict) else {"url": inner, "detail": part.get("detail")}
    url, detail = _string(image.get("url")), _string(image.get("detail"))
    url = url or _url_of_source(part.get("source"))
    if not url.lower().startswith(("https://", "data:image/")):
        return None
    return {"type": "input_image", "image_url": url} | ({"detail": detail} if detail else {})


def _file(part: Item) -> Item | None:
    inner = part.get("file")
    file: Item = inner if isinstance(inner, dict) else part
    data = _string(file.get("file_data")) or _url_of_source(part.get("source"))
    if not data or data.startswith("http"):
        return None  # chat completions have no files by URL
    name = _string(file.get("filename")) or _string(part.get("title"))
    return {"type": "input_file", "file_data": data} | ({"filename": name} if name else {})


def _url_of_source(source: Any) -> str:
    """The URL of Anthropic's `source`, which has base64 apart from its type."""
    if not isinstance(source, dict):
        return ""
    if source.get("type") == "url":
        return _string(source.get("url"))
    media_type, data = _string(source.get("media_type")), _string(source.get("data"))
    return f"data:{media_type};base64,{data}" if source.get("type") == "base64" and data else ""


def _left_out(parts: Iterable[Item]) -> str:
    """The line in the place of parts that are no text; "" without any."""
    kinds = (_KINDS.get(_string(part.get("type"))) for part in parts if not _text_of_document(part))
    counts = Counter(filter(None, kinds))
    what = ", ".join(f"{n} {kind}{'s' * (n != 1)}" for kind, n in counts.items())
    return LEFT_OUT.format(what=what) if what else ""


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
