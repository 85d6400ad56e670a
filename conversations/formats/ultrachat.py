"""UltraChat, raw or as `ultrachat_200k`.

Source: https://huggingface.co/datasets/stingning/ultrachat, JSON Lines of

    {"id", "data": ["what the user says", "what the assistant answers", …]}

and https://huggingface.co/datasets/HuggingFaceH4/ultrachat_200k, JSON Lines or parquet of

    {"prompt", "prompt_id", "messages": [{"role", "content"}, …]}

of which `prompt_id` is the id of the conversation. A `prompt` that is not its first message, and
all else, is metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from conversations.formats.chat import Chat, Rejected
from conversations.formats.checks import as_id, as_list, as_texts, required
from conversations.formats.drafts import kept, not_empty, with_parts_if_empty
from conversations.formats.message import MessageDraft
from conversations.formats.openai import as_draft
from conversations.formats.values import read_chats

_Object = dict[str, Any]


def looks_like_ultrachat(value: _Object) -> bool:
    texts = value.get("data")
    if isinstance(texts, list) and texts and isinstance(texts[0], str):
        return True
    return "prompt_id" in value and isinstance(value.get("prompt"), str)


def read_ultrachat(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode, one conversation at a time."""
    return read_chats(file, _chat)


def _chat(number: int, data: _Object) -> Chat:
    if "data" in data:
        return _raw(number, data)
    messages = as_list("messages", required("messages", data.get("messages")))
    drafts = [
        with_parts_if_empty(as_draft(f"messages.{index}", message))
        for index, message in enumerate(not_empty("messages", messages))
    ]
    is_first = data.get("prompt") == drafts[0].content
    return Chat(
        line=number,
        file_id=as_id("prompt_id", data.get("prompt_id")),
        messages=tuple(drafts),
        metadata=kept(data, "messages", "prompt_id", *(["prompt"] if is_first else [])),
    )


def _raw(number: int, data: _Object) -> Chat:
    texts = not_empty("data", as_texts("data", data["data"]))
    drafts = [
        with_parts_if_empty(MessageDraft(role="assistant" if at % 2 else "user", content=text))
        for at, text in enumerate(texts)
    ]
    return Chat(
        line=number,
        file_id=as_id("id", data.get("id")),
        messages=tuple(drafts),
        metadata=kept(data, "id", "data"),
    )
