"""What the older and the newer tables of llm's log have in common: attachments, fragments and tools
of other tables, and what a row says of an answer."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable

from conversations.formats.checks import as_number_or_none
from conversations.formats.message import MessageDraft
from conversations.formats.sqlite import Database, Row, from_json
from conversations.formats.times import utc_time
from conversations.formats.token_usage import LARGEST_COUNT

# The columns of a row whose values are JSON and are kept as they are.
_JSON_COLUMNS = {
    "options_json": "options",
    "token_details": "token_details",
    "response_json": "response_json",
    "prompt_json": "prompt_json",
    "schema_json": "schema",
}


def attachment(log: Database, id_: str) -> Row:
    """As a part of a message."""
    row = log.row("SELECT type, path, url, content FROM attachments WHERE id = ?", id_)
    part = {"type": "attachment", "id": id_}
    part |= {"mime_type": row.pop("type")} if "type" in row else {}
    content = row.get("content")
    return part | row | ({"content": as_base64(content)} if content is not None else {})


def as_base64(content: object) -> str:
    """Of bytes; a text stays one."""
    return b64encode(content).decode() if isinstance(content, bytes) else str(content)


def fragment(log: Database, id_: int) -> Row:
    return log.row("SELECT hash, source, content FROM fragments WHERE id = ?", id_)


def schema(log: Database, id_: str) -> Row:
    """That of an answer, as another column of its row."""
    return log.row("SELECT content AS schema_json FROM schemas WHERE id = ?", id_)


def tools(log: Database, links: str, key: str, ids: Iterable[str]) -> list[Row]:
    """Definitions of the tools that a table links to any of these ids."""
    linked = log.ids_by(links, key, "tool_id", order="tool_id")
    found = {tool_id for id_ in ids for tool_id in linked.get(id_, ())}
    rows = [log.row("SELECT * FROM tools WHERE id = ?", tool_id) for tool_id in sorted(found)]
    return [
        {name: from_json(value) for name, value in tool.items() if name != "id"} for tool in rows
    ]


def describe_answer(draft: MessageDraft, at: str, row: Row) -> None:
    """Set what a row of `responses` or `turns` says of the answer. Raises Malformed."""
    draft.model = str(row.get("model", ""))
    draft.created_at = utc_time(f"{at}.datetime_utc", row.get("datetime_utc"))
    draft.prompt_tokens = as_number_or_none(f"{at}.input_tokens", row.get("input_tokens"))
    draft.completion_tokens = as_number_or_none(f"{at}.output_tokens", row.get("output_tokens"))
    draft.latency_ms = as_number_or_none(f"{at}.duration_ms", row.get("duration_ms"))
    more = {name: from_json(row[key]) for key, name in _JSON_COLUMNS.items() if key in row}
    more = {name: value for name, value in more.items() if value not in ({}, [], "")}
    more |= {name: row[name] for name in ("id", "resolved_model") if name in row}
    draft.extra = (draft.extra or {}) | more
    details = more.get("token_details")
    if isinstance(details, dict) and isinstance(count := details.get("reasoning_tokens"), int):
        draft.reasoning_tokens = count if 0 <= count <= LARGEST_COUNT else None
