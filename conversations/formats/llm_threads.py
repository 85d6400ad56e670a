"""The tables of llm's log since 0.32: messages that are addressed by their content.

Source: databases that llm 0.36 writes. A message of `messages` follows `parent_hash`, its content
are its `parts`. A `thread` is a conversation; each of its `turns` asks with the messages up to
`parent_message_hash` and is answered by those from there to `tip_message_hash`. Threads share their
messages, and a thread may go on from an earlier one: those are branches.

- All messages up to the ends of the turns of a thread belong to the conversation; the branch of its
  `tip_message_hash` is active.
- A message has the time of the first turn that has it. What a turn says of its answer is that of
  the last message. Messages may be taken from another thread, whose turns say it, or from a
  conversation of the older tables, of which `responses` say it.
- Each result of a tool is a message of its own. Other parts than text, and texts with data of a
  provider, are in `parts`; what a model thought as in the Responses API.
- `response_json` is as llm keeps it: with references to the messages for what they repeat.
"""

from __future__ import annotations

import json
from typing import Any

from conversations.formats.chat import Chat, Malformed
from conversations.formats.drafts import tool_call, with_parts_if_empty
from conversations.formats.llm_rows import attachment, describe_answer, fragment, schema, tools
from conversations.formats.message import MessageDraft
from conversations.formats.reasoning import reasoning_part
from conversations.formats.sqlite import Database, Row, from_json
from conversations.formats.times import utc_time
from conversations.formats.tree import is_line

NO_SUCH_MESSAGE = "No such message."
FOLLOWS_ITSELF = "Follows itself."

_Object = dict[str, Any]


def threads_of(log: Database) -> list[Row]:
    if not {"threads", "turns"} <= set(log.tables):
        return []
    return log.rows("SELECT * FROM threads ORDER BY id")


def read_thread(log: Database, place: int, thread: Row, earlier: list[Row]) -> Chat:
    """`earlier` are the rows of `responses` that the thread begins with. Raises Malformed."""
    id_ = thread["id"]
    turn_ids = log.ids_by("turns", "thread_id", "id", order="id").get(id_, [])
    turns = [_turn(log, turn_id) for turn_id in turn_ids]
    started = utc_time("datetime_utc", thread.get("datetime_utc"))
    tip = thread.get("tip_message_hash")
    tree = _Tree(log)
    for index, turn in enumerate(turns):
        time = utc_time(f"turns.{index}.datetime_utc", turn.get("datetime_utc"))
        for end in ("parent_message_hash", "tip_message_hash"):
            tree.add_up_to(f"turns.{index}.{end}", turn.get(end), time)
        tree.describe(f"turns.{index}", turn)
    tree.add_up_to("tip_message_hash", tip, started)
    tree.describe_earlier(earlier)
    tree.describe_what_is_taken()
    times = [draft.created_at for draft in tree.drafts if draft.created_at]
    known_tools = tools(log, "turn_tools", "turn_id", turn_ids)
    forked_from = {"forked_from": thread["forked_from"]} if "forked_from" in thread else {}
    is_tree = not is_line(tuple(tree.parents))
    return Chat(
        line=place,
        file_id=id_,
        title=title_of(log, id_) or thread.get("name"),
        model_used=next((row["model"] for row in reversed(turns) if "model" in row), ""),
        messages=tuple(tree.drafts),
        metadata=({"tools": known_tools} if known_tools else {}) | forked_from,
        created_at=min(times, default=started),
        updated_at=max(times, default=started),
        parents=tuple(tree.parents) if is_tree else (),
        active=tree.last_of.get(tip) if is_tree else None,
    )


def _turn(log: Database, id_: str) -> Row:
    turn = log.row("SELECT * FROM turns WHERE id = ?", id_)
    if "schema_id" in turn:
        turn |= schema(log, turn["schema_id"])
    return turn


def title_of(log: Database, id_: str) -> str | None:
    """As the older tables have it: that of a thread is from its first turn there."""
    if "conversations" not in log.tables:
        return None
    return log.row("SELECT name FROM conversations WHERE id = ?", id_).get("name")


class _Tree:
    """The messages of a thread, each after the one it follows."""

    def __init__(self, log: Database) -> None:
        self._log = log
        self.drafts: list[MessageDraft] = []
        self.parents: list[int | None] = []
        self.last_of: dict[str | None, int | None] = {None: None}  # by the hash, of its drafts
        self._described: set[int] = set()  # indexes of drafts

    def add_up_to(self, at: str, hash_: str | None, time: Any) -> None:
        """Add a message and those that it follows, unless they are there. Raises Malformed."""
        rows: list[_Object] = []
        seen: set[str] = set()
        while hash_ not in self.last_of:
            if hash_ in seen:
                raise Malformed(at, FOLLOWS_ITSELF)
            row = self._log.row("SELECT * FROM messages WHERE hash = ?", hash_)
            if not row or hash_ is None:
                raise Malformed(at, NO_SUCH_MESSAGE)
            seen.add(hash_)
            rows.append(row)
            hash_ = row.get("parent_hash")
        for row in reversed(rows):
            before = self.last_of[row.get("parent_hash")]
            for draft in _drafts(self._log, row):
                draft.created_at = time
                self.drafts.append(draft)
                self.parents.append(before)
                before = len(self.drafts) - 1
            self.last_of[row["hash"]] = before

    def describe(self, at: str, turn: Row) -> None:
        """Say of the answer of a turn what the turn says."""
        index = self.last_of.get(turn.get("tip_message_hash"))
        if index is None or index in self._described or self.drafts[index].role != "assistant":
            return
        self._describe(index, at, turn)
        if fragments := self._fragments(turn["id"]):
            self.drafts[index].extra = (self.drafts[index].extra or {}) | {"fragments": fragments}

    def describe_earlier(self, responses: list[Row]) -> None:
        """Answers of the older tables, with which the conversation begins."""
        answers = [index for index, draft in enumerate(self.drafts) if draft.role == "assistant"]
        for index, response in zip(answers, responses, strict=False):
            if index in self._described or self.drafts[index].content != response.get("response"):
                return
            self._describe(index, "responses", response)

    def describe_what_is_taken(self) -> None:
        """Answers of the thread that this one was forked from: by the first turn that gave them."""
        for hash_, index in self.last_of.items():
            if index is None or index in self._described or self.drafts[index].role != "assistant":
                continue
            by_tip = self._log.ids_by("turns", "tip_message_hash", "id", order="id")
            if ids := by_tip.get(hash_):
                self._describe(index, "turns", _turn(self._log, ids[0]))

    def _describe(self, index: int, at: str, row: Row) -> None:
        """The question has the time of the answer, if it had a later one."""
        self._described.add(index)
        describe_answer(self.drafts[index], at, row)
        time = self.drafts[index].created_at
        before = self.parents[index]
        while before is not None and self.drafts[before].role != "assistant":
            asked = self.drafts[before]
            if time and (asked.created_at is None or asked.created_at > time):
                asked.created_at = time
            before = self.parents[before]

    def _fragments(self, turn_id: str) -> list[_Object]:
        """Those of a system prompt with their text, which no message may have."""
        if "turn_fragments" not in self._log.tables:
            return []
        query = 'SELECT * FROM turn_fragments WHERE turn_id = ? ORDER BY kind, "order"'
        found = []
        for row in self._log.rows(query, turn_id):
            said = {"kind": row["kind"]} | fragment(self._log, row["fragment_id"])
            if row["kind"] == "prompt":
                said.pop("content", None)
            found.append(said)
        return found


def _drafts(log: Database, message: _Object) -> list[MessageDraft]:
    """A message, and each result of a tool in it as one of its own."""
    query = "SELECT * FROM parts WHERE message_hash = ? ORDER BY position"
    parts = [_part(log, row) for row in log.rows(query, message["hash"])]
    results = [part for part in parts if _is_result(part)]
    others = [part for part in parts if not _is_result(part)]
    drafts = [_result(part) for part in results]
    if others or not results:
        drafts.insert(0, _draft(message, others))
    if "provider_metadata" in message:
        extra = {"provider_metadata": from_json(message["provider_metadata"])}
        drafts[0].extra = (drafts[0].extra or {}) | extra
    return drafts


def _is_result(part: _Object) -> bool:
    """Of a tool here: what the provider ran itself is a part of its answer."""
    return part["type"] == "tool_result" and not part.get("server_executed")


def _part(log: Database, row: _Object) -> _Object:
    payload = from_json(row.get("payload")) or {}
    part = {"type": row["type"]} | (payload if isinstance(payload, dict) else {"payload": payload})
    if "text" in row:
        part["text"] = row["text"]
    if isinstance(pieces := part.pop("text_ref", None), list):
        part["text"] = "".join(_text_of_piece(log, piece) for piece in pieces)
    if part["type"] == "attachment":
        file = part.pop("attachment", None)
        part |= attachment(log, file["id"]) if isinstance(file, dict) and "id" in file else {}
    if isinstance(files := part.get("attachments"), list):
        part["attachments"] = [
            attachment(log, file["id"]) for file in files if isinstance(file, dict) and "id" in file
        ]
    return part


def _text_of_piece(log: Database, piece: Any) -> str:
    if not isinstance(piece, dict):
        return ""
    if "fragment" in piece:
        return str(fragment(log, piece["fragment"]).get("content", ""))
    return str(piece.get("literal", ""))


def _draft(message: _Object, parts: list[_Object]) -> MessageDraft:
    calls = [part for part in parts if part["type"] == "tool_call" and not _by_provider(part)]
    kept = [_as_ours(part) for part in parts if part not in calls]
    is_text = all(part.keys() <= {"type", "text"} and part["type"] == "text" for part in kept)
    draft = MessageDraft(
        role=str(message.get("role", "")),
        content="".join(str(part.get("text", "")) for part in parts if part["type"] == "text"),
        parts=None if is_text and len(kept) <= 1 else kept,
        tool_calls=[_call(message, index, part) for index, part in enumerate(calls)] or None,
    )
    return with_parts_if_empty(draft)


def _by_provider(part: _Object) -> bool:
    return part.get("server_executed") is True


def _as_ours(part: _Object) -> _Object:
    if part["type"] != "reasoning":
        return part
    more = {name: value for name, value in part.items() if name != "text"}
    text = part.get("text")
    return reasoning_part(text) | more if text else {"summary": [], "content": []} | more


def _call(message: _Object, index: int, part: _Object) -> _Object:
    arguments = part.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    id_ = part.get("tool_call_id") or f"{message['hash']}:{index}"
    more = {name: part[name] for name in ("provider_metadata",) if name in part}
    return tool_call(str(id_), str(part.get("name", "")), text) | more


def _result(part: _Object) -> MessageDraft:
    extra: _Object = {
        name: part[name] for name in ("exception", "provider_metadata") if name in part
    }
    output = part.get("output", "")
    return MessageDraft(
        role="tool",
        name=part.get("name"),
        content=output if isinstance(output, str) else json.dumps(output),
        parts=part.get("attachments") or None,
        tool_call_id=part.get("tool_call_id"),
        extra=extra or None,
    )
