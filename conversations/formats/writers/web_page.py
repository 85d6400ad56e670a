"""One web page a conversation, complete in itself: it looks like the transcript of the admin.

Markdown is rendered and sanitised as there (`formats/markdown.py`). A page has no scripts and loads
nothing: its content security policy allows its own styles and the images within it. Images on other
servers are links.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from conversations.formats.chat import RecordedChat
from conversations.formats.image_parts import image_urls, is_raster_image, is_web_address
from conversations.formats.markdown import as_html
from conversations.formats.message import RecordedMessage, cost_as_text
from conversations.formats.reasoning import reasoning_of
from conversations.formats.writers.judgements import judgements_of

_STYLES = Path(__file__).with_name("page.css")
_ROLES = {
    "user": "User",
    "assistant": "Assistant",
    "system": "System",
    "developer": "Developer",
    "tool": "Tool",
}


def write_web_page(chat: RecordedChat) -> Iterator[str]:
    """The messages of one path, each an article with a heading of the third level."""
    yield _head(chat)
    for message in chat.messages:
        yield "".join(_article(message, chat.owner))
    yield "</main>\n</body>\n</html>\n"


@cache
def _styles() -> tuple[str, str]:
    """The text of the style sheet, and its hash for the content security policy."""
    text = _STYLES.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return text, f"sha256-{digest}"


def _head(chat: RecordedChat) -> str:
    styles, digest = _styles()
    title = escape(" ".join(chat.title.split()))
    facts = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in _facts_of_chat(chat))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy"'
        f" content=\"default-src 'none'; img-src data:; style-src '{digest}'\">\n"
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{styles}</style>\n</head>\n<body>\n<main>\n"
        f'<h1 dir="auto">{title}</h1>\n<dl>{facts}</dl>\n<h2>Messages</h2>\n'
    )


def _facts_of_chat(chat: RecordedChat) -> Iterator[tuple[str, str]]:
    """Names and values, as HTML."""
    yield "Owner", f"<bdi>{escape(chat.owner)}</bdi>"
    yield "Conversation", escape(chat.id)
    if chat.branch is not None:
        yield "Branch", f"{chat.branch.position} of {chat.branch.count}"
    if chat.model_used:
        yield "Model", escape(chat.model_used)
    if chat.tags:
        yield "Tags", escape(", ".join(chat.tags))
    yield "Created", _time(chat.created_at)
    yield "Updated", _time(chat.updated_at)


def _time(moment: Any) -> str:
    shown = f"{moment:%Y-%m-%d %H:%M:%S %Z}"
    return f'<time datetime="{moment.isoformat()}">{shown}</time>'


def _article(message: RecordedMessage, owner: str) -> Iterator[str]:
    id_ = f"m-{message.sequence}"
    sender = f"<bdi>{escape(owner)}</bdi>" if message.role == "user" else _ROLES[message.role]
    name = f" <bdi>{escape(message.name)}</bdi>" if message.name else ""
    yield f'<article class="{message.role}" id="{id_}" aria-labelledby="h-{message.sequence}">\n'
    yield f'<header><h3 id="h-{message.sequence}">{sender}{name}</h3>'
    yield f'<span class="sequence">#{message.sequence}</span>{_time(message.created_at)}</header>\n'
    yield from _folded("Reasoning", reasoning_of(message.parts, message.extra))
    yield _text(message)
    for number, url in enumerate(image_urls(message.parts), start=1):
        yield _image(number, url)
    for call in message.tool_calls or ():
        yield from _folded(*_called(call))
    if message.sources:
        yield from _folded("Sources", _indented(message.sources))
    if message.status != "complete":
        error = f": {message.error}" if message.error else ""
        yield f'<p class="status" dir="auto">{escape(message.status.capitalize() + error)}</p>\n'
    for judgement in judgements_of(message):
        yield f'<p class="facts" dir="auto">{escape(judgement)}</p>\n'
    if facts := " · ".join(_facts(message)):
        yield f'<p class="facts">{escape(facts)}</p>\n'
    yield "</article>\n"


def _text(message: RecordedMessage) -> str:
    if not message.content:
        return ""
    html = None if message.role == "tool" else as_html(message.content)
    if html is not None:
        return f'<div class="text markdown">{html}</div>\n'
    return f'<div class="text" dir="auto">{escape(message.content)}</div>\n'


def _image(number: int, url: str) -> str:
    if is_raster_image(url):
        return f'<img src="{escape(url)}" alt="Image {number}">\n'
    if is_web_address(url):
        link = f'<a href="{escape(url)}" rel="noopener noreferrer nofollow">{escape(url)}</a>'
        return f"<p>Image {number}: {link}</p>\n"
    return f"<p>Image {number} cannot be shown</p>\n"


def _folded(label: str, text: str) -> Iterator[str]:
    if text:
        yield f"<details><summary>{escape(label)}</summary>"
        yield f'<pre dir="auto" tabindex="0">{escape(text)}</pre></details>\n'


def _called(call: Any) -> tuple[str, str]:
    """The label of a tool call, and its arguments."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or "name" not in function:
        return "Tool call", _indented(call)
    arguments = function.get("arguments")
    try:
        parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        parsed = arguments
    shown = parsed if isinstance(parsed, str) else _indented(parsed)
    return f"Tool call {function['name']}", shown or "{}"


def _indented(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _facts(message: RecordedMessage) -> Iterator[str]:
    if message.model:
        yield f"{message.provider} {message.model}".strip()
    if message.prompt_tokens is not None:
        yield f"{message.prompt_tokens:,} tokens in"
    if message.completion_tokens is not None:
        yield f"{message.completion_tokens:,} tokens out"
    if message.cost is not None:
        yield f"cost {cost_as_text(message.cost)}"
    if message.latency_ms is not None:
        yield f"duration {message.latency_ms / 1000:.1f} s"
    if message.finish_reason:
        yield f"finish reason {message.finish_reason}"
    if message.detected_mode:
        yield f"mode {message.detected_mode}"
