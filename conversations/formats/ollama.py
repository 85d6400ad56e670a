"""The chats of Ollama's app, a database of SQLite: db.sqlite.

Source: the schema in https://github.com/ollama/ollama/blob/main/app/store/database.go, version 18;
older ones have fewer columns. A row of `chats` is a conversation, those of `messages` are a list,
with `tool_calls` and `attachments` of each.

- What a model thought (`thinking`), and files (`{"type": "file", "filename", "data"}`, the data in
  base64), are in `parts`.
- Calls have no ids: "call_7" is that of the row 7 of `tool_calls`. A message of the role `tool`
  answers the calls before it in order. `tool_result`, and the `function_result` of calls, are in
  the `extra` of the message, and so are all other columns that say something.

The `line` of a conversation is its place in the database, by time. Whose they are it does not say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from conversations.formats.chat import Chat, Rejected
from conversations.formats.drafts import tool_call, with_parts_if_empty
from conversations.formats.files import on_disk
from conversations.formats.llm_rows import as_base64
from conversations.formats.message import MessageDraft
from conversations.formats.reasoning import reasoning_part
from conversations.formats.sqlite import (
    Database,
    Row,
    chat_or_rejected,
    from_json,
    opened_database,
)
from conversations.formats.times import utc_time

# Of a row of `messages`, what has a column or is said elsewhere.
_NOT_EXTRA = frozenset(
    {"id", "chat_id", "role", "content", "thinking", "model_name", "created_at", "tool_result"}
)


def looks_like_ollama(value: dict[str, Any]) -> bool:
    return {"chats", "messages", "tool_calls"} <= set(value.get("sqlite", ()))


def read_ollama(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Read a database opened in binary mode; holds one conversation in memory. Raises
    Unreadable."""
    with on_disk(file) as path, opened_database(path) as database:
        ids = database.rows("SELECT id FROM chats ORDER BY created_at, id")
        for place, row in enumerate(ids, 1):
            yield chat_or_rejected(_chat, database, place, row["id"])


def _chat(database: Database, place: int, id_: str) -> Chat:
    chat = database.row("SELECT * FROM chats WHERE id = ?", id_)
    rows = database.rows("SELECT * FROM messages WHERE chat_id = ? ORDER BY id", id_)
    unanswered: list[str] = []
    drafts = [
        _draft(database, f"messages.{index}", row, unanswered) for index, row in enumerate(rows)
    ]
    created_at = utc_time("created_at", chat.get("created_at"))
    changed = (utc_time("updated_at", row.get("updated_at")) for row in rows)
    browsed = from_json(chat.get("browser_state"))
    return Chat(
        line=place,
        file_id=id_,
        title=chat.get("title") or None,
        model_used=next((draft.model for draft in reversed(drafts) if draft.model), ""),
        messages=tuple(drafts),
        metadata={"browser_state": browsed} if browsed else {},
        created_at=created_at,
        updated_at=max(filter(None, changed), default=created_at),
    )


def _draft(database: Database, at: str, row: Row, unanswered: list[str]) -> MessageDraft:
    """`unanswered` are the ids of the calls without a result so far."""
    role = row["role"]
    calls = _rows_of(database, "tool_calls", row["id"])
    results = [from_json(call["function_result"]) for call in calls if "function_result" in call]
    extra = {name: value for name, value in row.items() if name not in _NOT_EXTRA and value}
    extra |= {"tool_result": from_json(row["tool_result"])} if row.get("tool_result") else {}
    extra |= {"function_results": results} if results else {}
    text = row.get("content", "")
    parts = [reasoning_part(row["thinking"])] if row.get("thinking") else []
    parts += [_file(file) for file in _rows_of(database, "attachments", row["id"])]
    draft = MessageDraft(
        role=role,
        content=text,
        parts=[*parts, *([{"type": "text", "text": text}] if text else [])] if parts else None,
        tool_calls=[_call(call) for call in calls] or None,
        tool_call_id=unanswered.pop(0) if role == "tool" and unanswered else None,
        model=row.get("model_name", ""),
        created_at=utc_time(f"{at}.created_at", row.get("created_at")),
        extra=extra or None,
    )
    unanswered += [call["id"] for call in draft.tool_calls or ()]
    return with_parts_if_empty(draft)


def _rows_of(database: Database, table: str, message_id: int) -> list[Row]:
    if table not in database.tables:
        return []
    query = f"SELECT * FROM {table} WHERE message_id = ? ORDER BY id"  # noqa: S608
    return database.rows(query, message_id)


def _call(row: Row) -> Row:
    call = tool_call(f"call_{row['id']}", row["function_name"], row["function_arguments"])
    return call | {"type": row["type"]}


def _file(row: Row) -> Row:
    return {"type": "file", "filename": row["filename"], "data": as_base64(row["data"])}
