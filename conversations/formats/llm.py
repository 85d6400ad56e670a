"""The log of the command line tool llm, a database of SQLite: logs.db.

Source: databases that llm 0.27 and 0.36 write, and the schema in
https://llm.datasette.io/en/stable/logging.html. Here are the tables up to 0.31, where a row of
`responses` is a question and its answer; `llm_threads.py` has those of later releases. A database
has both where it was used with both, and a conversation that is in both is read from the later
ones, which have all of its messages.

How a response is stored, each message only if there is something to say:

- Its system prompt, if it is not that of the response before; the results of tools; its prompt,
  with the fragments before it; the answer.
- Attachments are parts: `{"type": "attachment", "id", "mime_type", "path", "url", "content"}`, the
  content in base64.
- Time, model, duration and numbers of tokens of the response are those of its answer. Its id,
  `resolved_model`, options, `token_details`, `response_json` and schema are in the `extra` of the
  answer. `fragments` in the `extra` of a prompt says where the fragments are from.
- The tools that a conversation could use are its metadata.

The `line` of a conversation is its place in the database. Whose it is the database does not say.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, BinaryIO

from conversations.formats.chat import Chat, Rejected
from conversations.formats.drafts import tool_call, with_parts_if_empty
from conversations.formats.files import on_disk
from conversations.formats.llm_rows import attachment, describe_answer, fragment, tools
from conversations.formats.llm_threads import read_thread, thread_ids
from conversations.formats.message import MessageDraft
from conversations.formats.reasoning import reasoning_part
from conversations.formats.sqlite import Database, chat_or_rejected, opened_database

# By the column of a prompt: the table of its fragments, and what is between them.
_FRAGMENTS = {"prompt": ("prompt_fragments", "\n"), "system": ("system_fragments", "\n\n")}

_Object = dict[str, Any]


def looks_like_llm(value: _Object) -> bool:
    tables = set(value.get("sqlite", ()))
    return {"responses", "conversations"} <= tables or {"threads", "turns"} <= tables


def read_llm(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Read a database opened in binary mode; holds one conversation in memory. Raises
    Unreadable."""
    with on_disk(file) as path, opened_database(path) as log:
        place = 0
        threads = thread_ids(log)
        for id_ in threads:
            place += 1
            yield chat_or_rejected(read_thread, log, place, id_)
        known = set(threads)
        for id_, response_ids in _conversations(log):
            if id_ not in known:
                place += 1
                yield chat_or_rejected(_chat, log, place, id_, response_ids)


def _conversations(log: Database) -> Iterator[tuple[str, list[str]]]:
    """The id of each and those of its responses. A response without one is its own."""
    if "responses" not in log.tables:
        return
    rows = log.rows(
        "SELECT coalesce(conversation_id, id) AS conversation, id FROM responses"
        " ORDER BY conversation, datetime_utc, id"
    )
    for id_, group in groupby(rows, key=itemgetter("conversation")):
        yield id_, [row["id"] for row in group]


def _chat(log: Database, place: int, id_: str, response_ids: list[str]) -> Chat:
    drafts: list[MessageDraft] = []
    system = ""
    for index, response_id in enumerate(response_ids):
        row = log.row("SELECT * FROM responses WHERE id = ?", response_id)
        if "schema_id" in row:
            row |= log.row(
                "SELECT content AS schema_json FROM schemas WHERE id = ?", row["schema_id"]
            )
        said = _messages(log, f"responses.{index}", row)
        if said[0].role == "system" and said[0].content == system:
            said = said[1:]
        elif said[0].role == "system":
            system = said[0].content
        drafts += said
    conversation = log.row("SELECT name, model FROM conversations WHERE id = ?", id_)
    known_tools = tools(
        log,
        "tool_responses",
        "SELECT tool_id FROM tool_responses JOIN responses ON responses.id = response_id"
        " WHERE coalesce(conversation_id, responses.id) = ?",
        id_,
    )
    return Chat(
        line=place,
        file_id=id_,
        title=conversation.get("name"),
        model_used=conversation.get("model")
        or next((draft.model for draft in reversed(drafts) if draft.model), ""),
        messages=tuple(drafts),
        metadata={"tools": known_tools} if known_tools else {},
        created_at=drafts[0].created_at,
        updated_at=drafts[-1].created_at,
    )


def _messages(log: Database, at: str, row: _Object) -> list[MessageDraft]:
    """The messages of a response: at least its answer."""
    id_ = row["id"]
    asked = [_prompt(log, "system", row), *_results(log, id_), _prompt(log, "prompt", row)]
    answer = MessageDraft(
        role="assistant",
        content=row.get("response", ""),
        parts=[reasoning_part(row["reasoning"])] if row.get("reasoning") else None,
        tool_calls=_calls(log, id_) or None,
    )
    describe_answer(answer, at, row)
    drafts = [draft for draft in asked if draft is not None] + [with_parts_if_empty(answer)]
    for draft in drafts:
        draft.created_at = answer.created_at
    return drafts


def _prompt(log: Database, column: str, row: _Object) -> MessageDraft | None:
    """The message of the prompt, or of the system prompt; None for none."""
    table, between = _FRAGMENTS[column]
    ids = _linked(log, table, "fragment_id", row["id"])
    fragments = [fragment(log, fragment_id) for fragment_id in ids]
    texts = [fragment.pop("content", "") for fragment in fragments]
    text = between.join([*texts, *([row[column]] if row.get(column) else [])])
    of_prompt = column == "prompt"
    files = _linked(log, "prompt_attachments", "attachment_id", row["id"]) if of_prompt else []
    parts = [attachment(log, attachment_id) for attachment_id in files]
    if not (text or parts):
        return None
    return MessageDraft(
        role="user" if of_prompt else "system",
        content=text,
        parts=[{"type": "text", "text": text}, *parts] if parts else None,
        extra={"fragments": fragments} if fragments else None,
    )


def _linked(log: Database, table: str, column: str, response_id: str) -> list[Any]:
    """The ids in a table that links them to a response, in order."""
    if table not in log.tables:
        return []
    query = f'SELECT {column} FROM {table} WHERE response_id = ? ORDER BY "order"'  # noqa: S608
    return [row[column] for row in log.rows(query, response_id)]


def _calls(log: Database, response_id: str) -> list[_Object]:
    if "tool_calls" not in log.tables:
        return []
    rows = log.rows("SELECT * FROM tool_calls WHERE response_id = ? ORDER BY id", response_id)
    return [tool_call(_call_id(row), row["name"], row.get("arguments", "")) for row in rows]


def _call_id(row: _Object) -> str:
    return str(row.get("tool_call_id", f"call_{row['id']}"))


def _results(log: Database, response_id: str) -> list[MessageDraft]:
    if "tool_results" not in log.tables:
        return []
    rows = log.rows("SELECT * FROM tool_results WHERE response_id = ? ORDER BY id", response_id)
    return [_result(log, row) for row in rows]


def _result(log: Database, row: _Object) -> MessageDraft:
    files = []
    if "tool_results_attachments" in log.tables:
        files = log.rows(
            "SELECT attachment_id FROM tool_results_attachments WHERE tool_result_id = ?"
            ' ORDER BY "order"',
            row["id"],
        )
    return MessageDraft(
        role="tool",
        name=row.get("name"),
        content=row.get("output", ""),
        parts=[attachment(log, file["attachment_id"]) for file in files] or None,
        tool_call_id=row.get("tool_call_id"),
        extra={"exception": row["exception"]} if "exception" in row else None,
    )
