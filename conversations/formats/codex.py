"""A session of the Codex CLI: `~/.codex/sessions/YYYY/MM/DD/rollout-….jsonl`.

Source: the types `RolloutLine`, `ResponseItem` and `EventMsg` of https://github.com/openai/codex.
One JSON object a line, {"timestamp", "type", "payload"}, where a payload is

    session_meta   {"id", "timestamp", "cwd", "originator", "cli_version", "git", "instructions", …}
    turn_context   {"model", "effort", …}
    response_item  an item of the Responses API: a message, reasoning, a call or its result
    event_msg      what the terminal shows: mostly the same again, and the tokens of a request

The oldest files have the payloads of `session_meta` and `response_item` alone.

How a session is stored: each item as over the API (`message_reader.py`), in the order of the file,
with the time of its line and the model of the last `turn_context`. The tokens of a request are
those of the last item of the model before them. The metadata is that of the session; its
instructions, and every other line that says something else than the items, are kept in `extra` of
the message before it: `conversation` and `records`. A line that cannot be read is refused alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from conversations.formats.chat import Chat, Malformed, Rejected
from conversations.formats.checks import (
    as_object,
    as_text,
    as_text_or_none,
    as_time_or_none,
    required,
)
from conversations.formats.message import MessageDraft
from conversations.formats.node_tree import set_missing_times
from conversations.formats.openai import as_draft
from conversations.formats.sdk_keys import ITEM_TYPES
from conversations.formats.token_usage import set_usage
from conversations.formats.unmapped import add_extra, as_metadata, unmapped
from conversations.formats.values import add_lines

NO_ITEMS = "No messages in this file."

_LINE_TYPES = frozenset({"session_meta", "turn_context", "response_item", "event_msg", "compacted"})
# Events that say again what an item says: the key of their text.
_REPEATED = {"user_message": "message", "agent_message": "message", "agent_reasoning": "text"}
# How OpenAI's Responses call what Codex counts by a name of its own.
_CACHED, _REASONING = "cached_input_tokens", "reasoning_output_tokens"

_Object = dict[str, Any]


def looks_like_codex(value: _Object) -> bool:
    """Whether the first line of a file is one of this format."""
    if str(value.get("type")) in _LINE_TYPES:
        return isinstance(value.get("payload"), dict)
    return _is_bare_meta(value) and ("instructions" in value or "git" in value)


def read_codex(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode; holds the session in memory.

    The `line` of the conversation is that of its first message.
    """
    session = _Session()
    has_lines = yield from add_lines(file, session.add)
    if session.drafts:
        yield session.chat()
    elif has_lines:
        yield Rejected(1, NO_ITEMS)


def _is_bare_meta(data: _Object) -> bool:
    return "type" not in data and "id" in data and "timestamp" in data


class _Session:
    """What the lines of a file say, in their order."""

    def __init__(self) -> None:
        self.drafts: list[MessageDraft] = []
        self._line = 1
        self._meta: _Object | None = None
        self._model = ""
        self._counted: object = None
        self._times: list[datetime] = []
        self._records: list[tuple[int, _Object]] = []  # with the number of messages before it

    def add(self, number: int, data: _Object) -> None:
        """Raises Malformed for a line that cannot be one of a session."""
        kind, payload = as_text_or_none("type", data.get("type")), data
        if kind in _LINE_TYPES and "payload" in data:
            payload = as_object("payload", data["payload"])
        elif not _is_bare_meta(data):
            kind = "response_item" if kind else None
        time = as_time_or_none("timestamp", data.get("timestamp"))
        if time is not None:
            self._times.append(time)
        if self._meta is None and (kind == "session_meta" or _is_bare_meta(data)):
            self._meta = payload
        elif kind == "response_item":
            self._add_item(number, "payload." if payload is not data else "", data, payload, time)
        else:
            self._add_record(str(kind), data, payload)

    def _add_item(
        self, number: int, at: str, line: _Object, item: _Object, time: datetime | None
    ) -> None:
        kind = as_text(f"{at}type", required(f"{at}type", item.get("type")))
        if kind != "message" and kind not in ITEM_TYPES:
            self._records.append((len(self.drafts), line))
            return
        try:
            draft = as_draft(at.removesuffix("."), item)
        except Malformed as error:
            raise Malformed((error.field or "").removeprefix("."), error.detail) from None
        if not (draft.content or draft.parts or draft.tool_calls or draft.role == "tool"):
            self._records.append((len(self.drafts), line))
            return
        draft.created_at = time
        if draft.role == "assistant":
            draft.model = draft.model or self._model
            provider = (self._meta or {}).get("model_provider")
            draft.provider = provider if isinstance(provider, str) else ""
        self._line = self._line if self.drafts else number
        self.drafts.append(draft)

    def _add_record(self, kind: str, line: _Object, payload: _Object) -> None:
        if kind == "turn_context":
            self._model = as_text_or_none("payload.model", payload.get("model")) or self._model
        if kind == "event_msg" and payload.get("type") == "token_count":
            self._add_usage(payload)
        else:
            self._records.append((len(self.drafts), line))

    def _add_usage(self, payload: _Object) -> None:
        """Codex reports the tokens of a request again with each change of its limits."""
        info = payload.get("info")
        usage = info.get("last_token_usage") if isinstance(info, dict) else None
        if not isinstance(info, dict) or not isinstance(usage, dict):
            return
        total = info.get("total_token_usage")
        if total is not None and total == self._counted:
            return
        self._counted = total
        answers = (draft for draft in reversed(self.drafts) if draft.role == "assistant")
        answer = next(answers, None)
        if answer is not None and answer.prompt_tokens is None:
            set_usage(
                answer,
                usage
                | {
                    "input_tokens_details": {"cached_tokens": usage.get(_CACHED)},
                    "output_tokens_details": {"reasoning_tokens": usage.get(_REASONING)},
                },
            )
            add_extra(answer, {"usage": usage})

    def chat(self) -> Chat:
        said = {text for draft in self.drafts for text in _texts(draft)}
        records: dict[int, list[_Object]] = {}
        for index, record in self._records:
            if not _is_repeated(record, said):
                records.setdefault(max(index - 1, 0), []).append(record)
        for index, lines in records.items():
            add_extra(self.drafts[index], {"records": lines})
        start = min(self._times, default=None)
        set_missing_times(self.drafts, [None, *range(len(self.drafts) - 1)], start)
        meta = self._meta or {}
        id_ = meta.get("id")
        return Chat(
            line=self._line,
            file_id=id_ if isinstance(id_, str) and id_ else None,
            messages=tuple(self.drafts),
            model_used=self._model,
            metadata=as_metadata(unmapped(meta, ()), self.drafts),
            created_at=start,
            updated_at=max(self._times, default=None),
        )


def _texts(draft: MessageDraft) -> Iterator[str]:
    """The text of an item, or each of the texts of what the model thought."""
    yield draft.content.strip()
    for item in draft.parts or ():
        lists = [item.get("summary"), item.get("content")] if isinstance(item, dict) else []
        for part in (part for texts in lists if isinstance(texts, list) for part in texts):
            yield str(part.get("text") if isinstance(part, dict) else part).strip()


def _is_repeated(record: _Object, said: set[str]) -> bool:
    """Whether an event has the text of an item, or none."""
    payload = record.get("payload")
    if record.get("type") != "event_msg" or not isinstance(payload, dict):
        return False
    key = _REPEATED.get(str(payload.get("type")))
    text = payload.get(key) if key else None
    return isinstance(text, str) and (not text.strip() or text.strip() in said)
