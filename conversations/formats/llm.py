"""The log of the command line tool llm, a database of SQLite: logs.db.

Source: databases that llm 0.27 and 0.36 write, and the schema in
https://llm.datasette.io/en/stable/logging.html. Here are the tables up to 0.31, where a row of
`responses` is a question and its answer; `llm_threads.py` has those of later releases. A database
has both where it was used with both. A conversation that is in both has all of its messages in the
later ones; what `responses` say of them is kept.

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
from typing import Any, BinaryIO

from conversations.formats.chat import Chat, Rejected
from conversations.formats.drafts import tool_call, with_parts_if_empty
from conversations.formats.files import on_disk
from conversations.formats.llm_rows import attachment, describe_answer, fragment, schema, tools
from conversations.formats.llm_threads import read_thread, threads_of, title_of
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
        conversation = "coalesce(conversation_id, id)"  # a response without one is its own
        responses = dict(log.ids_by("responses", conversation, "id", order="datetime_utc, id"))
        threads = threads_of(log)
        for place, thread in enumerate(threads, 1):
            ids = responses.get(thread["id"]) or responses.get(thread.get("forked_from"), ())
            yield chat_or_rejected(_thread, log, place, thread, ids)
        for thread in threads:
            responses.pop(thread["id"], None)
        for place, (id_, ids) in enumerate(responses.items(), len(threads) + 1):
            yield chat_or_rejected(_chat, log, place, id_, ids)


def _thread(log: Database, place: int, thread: _Object, response_ids: list[str]) -> Chat:
    responses = [_response(log, response_id) for response_id in response_ids]
    return read_thread(log, place, thread, responses)


def _chat(log: Database, place: int, id_: str, response_ids: list[str]) -> Chat:
    drafts: list[MessageDraft] = []
    system = ""
    for index, response_id in enumerate(response_ids):
        said = _messages(log, f"responses.{index}", _response(log, response_id))
        if said[0].role == "system" and said[0].content == system:
            said = said[1:]
        elif said[0].role == "system":
            system = said[0].content
        drafts += said
    known_tools = tools(log, "tool_responses", "response_id", response_ids)
    return Chat(
        line=place,
        file_id=id_,
        title=title_of(log, id_),
        model_used=next((draft.model for draft in reversed(drafts) if draft.model), ""),
        messages=tuple(drafts),
        metadata={"tools": known_tools} if known_tools else {},
        created_at=drafts[0].created_at,
        updated_at=drafts[-1].created_at,
    )


def _response(log: Database, id_: str) -> _Object:
    row = log.row("SELECT * FROM responses WHERE id = ?", id_)
    if "schema_id" in row:
        row |= schema(log, row["schema_id"])
    return row


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
    return log.ids_by(table, "response_id", column, order='"order"').get(response_id, [])


def _rows_of(log: Database, table: str, response_id: str) -> list[_Object]:
    ids = log.ids_by(table, "response_id", "id", order="id").get(response_id, ())
    return [log.row(f"SELECT * FROM {table} WHERE id = ?", id_) for id_ in ids]  # noqa: S608


def _calls(log: Database, response_id: str) -> list[_Object]:
    rows = _rows_of(log, "tool_calls", response_id)
    return [tool_call(_call_id(row), row["name"], row.get("arguments", "")) for row in rows]


def _call_id(row: _Object) -> str:
    return str(row.get("tool_call_id", f"call_{row['id']}"))


def _results(log: Database, response_id: str) -> list[MessageDraft]:
    return [_result(log, row) for row in _rows_of(log, "tool_results", response_id)]


def _result(log: Database, row: _Object) -> MessageDraft:
    files = log.ids_by(
        "tool_results_attachments", "tool_result_id", "attachment_id", order='"order"'
    )
    return MessageDraft(
        role="tool",
        name=row.get("name"),
        content=row.get("output", ""),
        parts=[attachment(log, file) for file in files.get(row["id"], ())] or None,
        tool_call_id=row.get("tool_call_id"),
        extra={"exception": row["exception"]} if "exception" in row else None,
    )
