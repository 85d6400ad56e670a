"""Google Takeout's activity of Gemini: `My Activity/Gemini Apps/MyActivity.json`, a JSON array.

Source: files of users, as public importers read them; Google documents no schema. The newest first:

    [{"header": "Gemini Apps", "title": "Prompted TEXT", "titleUrl", "time": ISO 8601,
      "products": ["Gemini Apps"], "safeHtmlItem": [{"html"}, …], "details": [{"name", "url"}],
      "subtitles", "attachedFiles": [{"name"}], "imageFile", …}, …]

How it is stored: each prompt as a question and its answer. Prompts that name the page of a
conversation (`…/app/ID`, in newer exports) are together in one, the others each in one of their
own, whose id is a hash of time and title, since a newer export begins with newer prompts. The items
of an answer, which may be versions or pieces of it, are one text, as Markdown. Attached files are
parts; all else is in `extra` of the question.

A title begins with what was done, in the language of the account. Where it is known not to be a
prompt (`Used`, `Created`, …) the entry is left out; where it is not known, an entry with an answer
is a prompt with the whole title, and one without is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from typing import Any, BinaryIO, NamedTuple

from conversations.formats.arrays import read_values
from conversations.formats.chat import Chat, Malformed, Rejected
from conversations.formats.checks import (
    as_list_or_none,
    as_object,
    as_text,
    as_time,
    required,
)
from conversations.formats.content_parts import file_part
from conversations.formats.lines import NOT_AN_OBJECT
from conversations.formats.message import MessageDraft
from conversations.formats.unmapped import unmapped

NOT_KNOWN = "Neither known as a prompt nor with an answer."

# English, and Japanese.
_PROMPTS = ("Prompted ", "Branched ", "Answered ", "送信したメッセージ: ")
_NO_PROMPTS = ("Used ", "Created ", "Gave ", "Selected ")
_THREAD = re.compile(r"https://(?:gemini|bard)\.google\.com/(?:u/\d+/)?app/(?:c/)?([\w-]+)")
_NOT_EXTRA = frozenset({"time", "safeHtmlItem", "attachedFiles", "imageFile"})

_Object = dict[str, Any]


class _Prompt(NamedTuple):
    """An entry of the file: its place, its time, and its messages."""

    place: int
    time: datetime
    drafts: list[MessageDraft]


def looks_like_gemini(value: _Object) -> bool:
    """Whether the first value of a file is an entry of this format."""
    products = value.get("products")
    named = [value.get("header"), *(products if isinstance(products, list) else ())]
    is_gemini = any(isinstance(each, str) and "Gemini" in each for each in named)
    return is_gemini and "title" in value and "time" in value


def read_gemini(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode.

    Holds the prompts of all conversations that have an id, since those of one may be anywhere. The
    `line` of a conversation is the place of its newest prompt.
    """
    threads: dict[str, list[_Prompt]] = {}
    for found in read_values(file):
        if isinstance(found, Rejected):
            yield found
            continue
        place, value = found
        try:
            if not isinstance(value, dict):
                raise Malformed(None, NOT_AN_OBJECT)
            prompt = _prompt(place, value)
        except Malformed as error:
            yield Rejected.at(place, error.field, error.detail)
            continue
        if prompt is None:
            continue
        id_ = _thread(value)
        if id_ is None:
            yield _chat(_id(value), [prompt], {})
        else:
            threads.setdefault(id_, []).append(prompt)
    for id_, prompts in threads.items():
        yield _chat(id_, prompts, {"app_id": id_})


def _chat(id_: str, prompts: list[_Prompt], metadata: _Object) -> Chat:
    """The newest prompt is the first in the file, also of those of the same time."""
    ordered = sorted(prompts, key=lambda prompt: (prompt.time, -prompt.place))
    return Chat(
        line=min(prompt.place for prompt in prompts),
        file_id=id_,
        messages=tuple(draft for prompt in ordered for draft in prompt.drafts),
        metadata=metadata,
        created_at=ordered[0].time,
        updated_at=ordered[-1].time,
    )


def _thread(entry: _Object) -> str | None:
    """The id of the conversation whose page an entry names."""
    details = entry.get("details")
    pages = [*details, entry] if isinstance(details, list) else [entry]
    for page in pages:
        url = (page.get("url") or page.get("titleUrl")) if isinstance(page, dict) else None
        if isinstance(url, str) and (found := _THREAD.match(url)):
            return found[1]
    return None


def _id(entry: _Object) -> str:
    said = f"{entry['time']}\n{entry['title']}"
    return f"sha256:{hashlib.sha256(said.encode(errors='surrogatepass')).hexdigest()}"


def _prompt(place: int, entry: _Object) -> _Prompt | None:
    title = as_text("title", required("title", entry.get("title")))
    if title.startswith(_NO_PROMPTS):
        return None
    items = as_list_or_none("safeHtmlItem", entry.get("safeHtmlItem")) or ()
    answers = [_markdown(f"safeHtmlItem.{index}", item) for index, item in enumerate(items)]
    prefix = next((prefix for prefix in _PROMPTS if title.startswith(prefix)), None)
    if prefix is None and not any(answers):
        raise Malformed("title", NOT_KNOWN)
    time = as_time("time", entry.get("time"))
    text = title[len(prefix or "") :]
    files = _files(entry)
    question = MessageDraft(
        role="user",
        content=text,
        parts=([{"type": "text", "text": text}] if text else []) + files if files else None,
        created_at=time,
        extra=unmapped(entry, _NOT_EXTRA),
    )
    answer = "\n\n".join(filter(None, answers))
    drafts = [question] if text or files else []
    if answer:
        drafts.append(MessageDraft(role="assistant", content=answer, created_at=time))
    return _Prompt(place, time, drafts)


def _files(entry: _Object) -> list[_Object]:
    attached = as_list_or_none("attachedFiles", entry.get("attachedFiles")) or []
    files = [*attached, *([entry["imageFile"]] if entry.get("imageFile") else [])]
    return [file_part(file if isinstance(file, dict) else {"name": file}) for file in files]


def _markdown(at: str, item: object) -> str:
    """The HTML of an answer as Markdown."""
    # Loading what it needs takes 0.2 seconds, for this format alone.
    as_markdown = import_module("conversations.formats.html_markdown").as_markdown
    html = as_text(f"{at}.html", as_object(at, item).get("html"))
    try:
        return str(as_markdown(html))
    except ValueError as error:
        raise Malformed(f"{at}.html", str(error)) from None
