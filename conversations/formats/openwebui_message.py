"""One message of an Open WebUI chat as messages of ours; `openwebui.py` says how."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any

from conversations.formats.answer_parts import drafts_of_parts, last_said
from conversations.formats.checks import (
    as_list_or_none,
    as_object,
    as_object_or_none,
    as_text,
    as_text_or_none,
    required,
)
from conversations.formats.content_parts import as_part, text_of
from conversations.formats.message import MessageDraft
from conversations.formats.node_tree import Node
from conversations.formats.reasoning import reasoning_part
from conversations.formats.token_usage import set_usage
from conversations.formats.tool_calls import as_json_text
from conversations.formats.unmapped import add_extra, unmapped

_NOT_EXTRA = frozenset(
    {"role", "content", "timestamp", "model", "output", "sources", "error", "files"}
)

# What the interface shows folded: `<details type="reasoning" …><summary>…</summary>…</details>`.
_DETAILS = re.compile(r'<details\s+(?=type=")')
_END = "</details>"
_SUMMARY = re.compile(r"\s*<summary>(.*?)</summary>\n?", re.DOTALL)
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
_QUOTED = re.compile(r"^> ?", re.MULTILINE)

_Object = dict[str, Any]


def read_message(node: Node) -> list[MessageDraft]:
    """The messages of a node: several where tools were called; none if it says nothing."""
    at, message = node.at, node.data
    role = as_text(f"{at}.role", required(f"{at}.role", message.get("role")))
    name, parts, original = _parts(at, message)
    drafts = drafts_of_parts(f"{at}.{name}", parts + _files(at, message), role)
    error = _error(at, message)
    if not drafts and error:
        drafts = [MessageDraft(role=role, status="failed")]
    for draft in drafts:
        draft.created_at = node.time
        if draft.role == "assistant":
            draft.model = as_text_or_none(f"{at}.model", message.get("model")) or ""
    if drafts:
        add_extra(drafts[0], unmapped(message, _NOT_EXTRA) | original)
        _set_end(at, message, last_said(drafts), error)
    return drafts


def _set_end(at: str, message: _Object, last: MessageDraft, error: str | None) -> None:
    """What is said of a whole answer: how it ended, its tokens, its sources and its rating."""
    set_usage(last, message.get("usage"))
    last.sources = as_list_or_none(f"{at}.sources", message.get("sources")) or None
    annotation = as_object_or_none(f"{at}.annotation", message.get("annotation")) or {}
    if annotation.get("rating") in (1, -1):
        last.rating = int(annotation["rating"])
        last.rating_comment = as_text_or_none(
            f"{at}.annotation.comment", annotation.get("comment") or None
        )
    if error:
        last.status, last.error = "failed", error
    elif last.role == "assistant" and message.get("done") is False:
        last.status = "interrupted"


def _error(at: str, message: _Object) -> str | None:
    """The text of an error: a string, true, or an object with a `content`."""
    error = message.get("error")
    if isinstance(error, dict) and isinstance(error.get("content"), str):
        return error["content"] or None
    if error is True:
        return as_json_text(f"{at}.content", message.get("content")) or "Unknown error."
    return as_json_text(f"{at}.error", error) or None if error else None


def _parts(at: str, message: _Object) -> tuple[str, list[Any], _Object]:
    """The key that says what the message contains, its parts, and `content` where it says something
    else than they do, as after an edit."""
    content = message.get("content")
    output = as_list_or_none(f"{at}.output", message.get("output"))
    if output:
        parts = [part for item in output for part in _unwrapped(as_part(item))]
        if not isinstance(content, str) or _shown(content) == _squeezed(text_of(parts)):
            return "output", parts, {}
        return "output", parts, {"content": content}
    if isinstance(content, list):
        return "content", [as_part(part) for part in content], {}
    text = as_text_or_none(f"{at}.content", content) or ""
    folds = message.get("role") == "assistant"
    return "content", list(_parts_of_text(text)) if folds else _one_text(text), {}


def _one_text(text: str) -> list[_Object]:
    return [{"type": "text", "text": text}] if text else []


def _shown(content: str) -> str:
    at, shown = 0, []
    for begin, end, *_ in _details(content):
        shown.append(content[at:begin])
        at = end
    return _squeezed("".join([*shown, content[at:]]))


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _unwrapped(item: Any) -> list[Any]:
    """The parts of a message of `output`, of which the first one keeps what the message says beside
    them; another item as it is."""
    parts = item.get("content")
    if item["type"] != "message" or not isinstance(parts, list) or not parts:
        return [item]
    first, *others = map(as_part, parts)
    rest = unmapped(item, ("type", "role", "content"))
    return [first | ({"message": rest} if rest else {}), *others]


def _parts_of_text(text: str) -> Iterator[_Object]:
    """The texts of an answer, and what its HTML folds away, in their order."""
    at = 0
    for begin, end, attributes, body in _details(text):
        yield from _one_text(text[at:begin].strip("\n"))
        yield from _folded(attributes, body)
        at = end
    yield from _one_text(text[at:].strip("\n") if at else text)


def _details(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Begin, end, attributes and body of each. One pass: a regular expression of a whole element
    would look for an end that is missing once for each begin."""
    at = 0
    while found := _DETAILS.search(text, at):
        head = text.find(">", found.end())
        end = text.find(_END, head + 1) if head >= 0 else -1
        if end < 0:
            return
        at = end + len(_END)
        at += text.startswith("\n", at)
        yield found.start(), at, text[found.end() : head], text[head + 1 : end]


def _folded(attributes: str, body: str) -> Iterator[_Object]:
    given = {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(attributes)}
    kind = given.pop("type")
    summary = _SUMMARY.match(body)
    if summary:
        given["title"], body = html.unescape(summary[1]).strip(), body[summary.end() :]
    body = html.unescape(body).strip("\n")
    if kind == "reasoning":
        yield reasoning_part(_QUOTED.sub("", body)) | given
    elif kind == "tool_calls" and given.get("name"):
        yield from _call(given, body)
    else:
        yield {"type": kind} | given | ({"body": body} if body else {})


def _call(given: _Object, body: str) -> Iterator[_Object]:
    """A call and its result, whose attributes are JSON texts in JSON strings."""
    name = given.pop("name")
    id_ = given.pop("id", "") or f"call_{name}"
    arguments = _text_in(given.pop("arguments", ""))
    result = _text_in(given.pop("result", "")) or body
    yield {"type": "function_call", "call_id": id_, "name": name, "arguments": arguments} | given
    if result or given.get("done") == "true":
        yield {"type": "function_call_output", "call_id": id_, "output": result}


def _text_in(value: str) -> str:
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return parsed if isinstance(parsed, str) else value


def _files(at: str, message: _Object) -> list[_Object]:
    """A part for each file, or of text where it has the text that the model was shown."""
    parts: list[_Object] = []
    for index, value in enumerate(as_list_or_none(f"{at}.files", message.get("files")) or ()):
        file = as_object(f"{at}.files.{index}", value)
        text = _extracted(file)
        if text:
            parts.append({"type": "text", "text": text, "file": _without_text(file)})
        else:
            parts.append({"type": "file", "file": file})
    return parts


def _extracted(file: _Object) -> str | None:
    inner = file.get("file")
    data = inner.get("data") if isinstance(inner, dict) else None
    text = data.get("content") if isinstance(data, dict) else None
    return text if isinstance(text, str) and text else None


def _without_text(file: _Object) -> _Object:
    data = unmapped(file["file"]["data"], ("content",))
    return file | {"file": unmapped(file["file"], ("data",)) | ({"data": data} if data else {})}
