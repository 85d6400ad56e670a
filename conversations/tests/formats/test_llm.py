"""The tables of llm up to 0.31, as that writes them."""

import base64
import io
import sqlite3
from datetime import UTC, datetime

import pytest

from conversations.formats import (
    AUTO,
    Chat,
    Files,
    MessageDraft,
    Rejected,
    lines,
    read_files,
    sqlite,
)
from conversations.tests.formats.databases import write_database

FIRST = "2026-01-31T09:30:00.250000+00:00"
LATER = "2026-01-31T09:31:00"
PNG = b"\x89PNG\r\n\x1a\n"


def response(id_, prompt, answer, **fields):
    return {
        "id": id_,
        "model": "m1",
        "prompt": prompt,
        "response": answer,
        "conversation_id": "c1",
        "datetime_utc": FIRST,
    } | fields


ANSWERED = response(
    "r1",
    "Name a bay.",
    "Biscay.",
    system="Be brief.",
    resolved_model="m1-2026",
    options_json={"temperature": 0.5},
    token_details={"reasoning_tokens": 3},
    response_json={"id": "x"},
    input_tokens=11,
    output_tokens=7,
    duration_ms=1200,
    schema_id="s1",
)


@pytest.fixture
def log(tmp_path):
    def write(*responses, **tables):
        known = {
            "conversations": [{"id": "c1", "name": "Bays", "model": "m1"}],
            "schemas": [{"id": "s1", "content": {"type": "object"}}],
            "responses": list(responses),
        }
        return write_database(tmp_path / "logs.db", **(known | tables))

    return write


def read(path):
    return list(read_files(Files(path), AUTO))


def test_a_response_is_a_question_and_an_answer(log):
    (chat,) = read(log(ANSWERED))
    assert (chat.format, chat.line, chat.file_id, chat.title) == ("llm", 1, "c1", "Bays")
    assert (chat.model_used, chat.owner, chat.metadata) == ("m1", None, {})
    at = datetime(2026, 1, 31, 9, 30, 0, 250_000, tzinfo=UTC)
    assert (chat.created_at, chat.updated_at) == (at, at)
    assert chat.messages == (
        MessageDraft(role="system", content="Be brief.", created_at=at),
        MessageDraft(role="user", content="Name a bay.", created_at=at),
        MessageDraft(
            role="assistant",
            content="Biscay.",
            model="m1",
            prompt_tokens=11,
            completion_tokens=7,
            reasoning_tokens=3,
            latency_ms=1200,
            created_at=at,
            extra={
                "id": "r1",
                "resolved_model": "m1-2026",
                "options": {"temperature": 0.5},
                "token_details": {"reasoning_tokens": 3},
                "response_json": {"id": "x"},
                "schema": {"type": "object"},
            },
        ),
    )


def test_a_system_prompt_is_repeated_where_it_changes(log):
    (chat,) = read(
        log(
            response("r1", "1", "a", system="A"),
            response("r2", "2", "b", system="A", datetime_utc=LATER),
            response("r3", "3", "c", system="B", datetime_utc=LATER),
        )
    )
    assert [each.content for each in chat.messages] == [*"A1a", *"2b", *"B3c"]
    assert chat.updated_at == datetime(2026, 1, 31, 9, 31, tzinfo=UTC)


def test_calls_are_linked_to_the_results_of_the_next_response(log):
    path = log(
        response("r1", "Sum?", ""),
        response("r2", "", "Five.", datetime_utc=LATER),
        tools=[{"id": 1, "name": "add", "input_schema": {"type": "object"}}, {"id": 2}],
        tool_responses=[{"tool_id": 1, "response_id": "r1"}, {"tool_id": 1, "response_id": "r2"}],
        tool_calls=[
            {"id": 1, "response_id": "r1", "name": "add", "arguments": "{}", "tool_call_id": "a"},
            {"id": 2, "response_id": "r1", "name": "add", "arguments": '{"a": 2}'},
        ],
        tool_results=[
            {"id": 1, "response_id": "r2", "name": "add", "output": "5", "tool_call_id": "a"},
            {"id": 2, "response_id": "r2", "name": "add", "output": "", "exception": "Error: no"},
        ],
    )
    (chat,) = read(path)
    assert chat.metadata == {"tools": [{"name": "add", "input_schema": {"type": "object"}}]}
    assert [each.role for each in chat.messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ]
    _, called, five, failed, answer = chat.messages
    assert [(call["id"], call["function"]["arguments"]) for call in called.tool_calls] == [
        *(("a", "{}"), ("call_2", '{"a": 2}')),
    ]
    assert (five.tool_call_id, five.name, five.content) == ("a", "add", "5")
    assert (failed.content, failed.extra) == ("", {"exception": "Error: no"})
    assert answer.content == "Five."


def test_attachments_and_fragments_are_kept(log):
    path = log(
        response("r1", "What is this?", "A dot."),
        attachments=[
            {"id": "a1", "type": "image/png", "content": PNG, "path": None, "url": None},
            {"id": "a2", "type": "image/png", "url": "https://images.example/dot.png"},
        ],
        prompt_attachments=[
            {"response_id": "r1", "attachment_id": "a2", "order": 1},
            {"response_id": "r1", "attachment_id": "a1", "order": 0},
        ],
        fragments=[
            {"id": 1, "hash": "h1", "content": "A book.", "source": "book.txt"},
            {"id": 2, "hash": "h2", "content": "A rule."},
        ],
        prompt_fragments=[{"response_id": "r1", "fragment_id": 1, "order": 0}],
        system_fragments=[{"response_id": "r1", "fragment_id": 2, "order": 0}],
    )
    system, asked, _ = read(path)[0].messages
    assert (system.content, system.extra) == ("A rule.", {"fragments": [{"hash": "h2"}]})
    assert asked.content == "A book.\nWhat is this?"
    assert asked.extra == {"fragments": [{"hash": "h1", "source": "book.txt"}]}
    text, dot, other = asked.parts
    assert text == {"type": "text", "text": asked.content}
    assert dot == {
        "type": "attachment",
        "id": "a1",
        "mime_type": "image/png",
        "content": base64.b64encode(PNG).decode(),
    }
    assert other["url"] == "https://images.example/dot.png"


def test_a_response_without_a_conversation_is_one(log):
    chats = read(log(response("r1", "1", "a"), response("r2", "2", "b", conversation_id=None)))
    assert [(chat.line, chat.file_id, chat.title) for chat in chats] == [
        *((1, "c1", "Bays"), (2, "r2", None)),
    ]


def test_an_answer_without_text_is_kept(log):
    (chat,) = read(log(response("r1", "Hello?", "")))
    assert chat.messages[1].parts == [{"type": "text", "text": ""}]


def test_the_log_is_read_in_a_zip_and_from_a_stream(log):
    path = log(ANSWERED)
    assert [chat.file_id for chat in read_files(Files(io.BytesIO(path.read_bytes())), "llm")] == [
        "c1"
    ]
    assert [(chat.file, chat.file_id) for chat in read(path.parent)] == [("logs.db", "c1")]


def test_a_log_in_use_is_read_with_what_is_in_its_write_ahead_log(log):
    path = log(ANSWERED)
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("UPDATE responses SET response = 'Fundy.'")
    writer.commit()
    assert path.with_name("logs.db-wal").stat().st_size
    (chat,) = read(path)
    writer.close()
    assert chat.messages[-1].content == "Fundy."


def test_reading_changes_nothing(log):
    path = log(ANSWERED)
    before = path.read_bytes()
    read(path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["logs.db"]


# Damage


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"datetime_utc": "now"}, "responses.0.datetime_utc: Not a date and time"),
        ({"input_tokens": "many"}, "responses.0.input_tokens: Not an integer."),
        ({"prompt": 7}, "A column has no value, or one of another type."),
        ({"prompt": b"\xff"}, "A column has no value, or one of another type."),
    ],
)
def test_a_conversation_that_is_none_says_why_and_costs_no_other(log, fields, reason):
    bad = response("r1", "1", "a", conversation_id="c0") | fields
    found = read(log(bad, response("r2", "2", "b")))
    (rejected,) = (each for each in found if isinstance(each, Rejected))
    assert rejected.reason[: len(reason)] == reason
    assert [each.file_id for each in found if isinstance(each, Chat)] == ["c1"]


def test_a_value_that_is_too_large_is_refused_and_costs_no_other(log, monkeypatch):
    monkeypatch.setattr(sqlite, "MAX_LINE_BYTES", 5000)
    bad = response("r1", "1" * 6000, "a", conversation_id="c0")
    rejected, chat = read(log(bad, response("r2", "2", "b")))
    assert rejected == Rejected(1, "A value is longer than 5,000 bytes.")
    assert chat.file_id == "c1"


def test_text_that_is_not_utf_8_is_kept_for_the_import_to_refuse(log):
    path = log(ANSWERED)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE responses SET prompt = CAST(x'c3a9ff' AS TEXT)")
    connection.commit()
    connection.close()
    assert read(path)[0].messages[1].content == "é\udcff"


def test_a_database_that_is_damaged_is_refused(log):
    path = log(*(response(f"r{number}", "x" * 900, "y" * 900) for number in range(50)))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])
    *_, rejected = read(path)
    assert rejected.reason.startswith("Not a database of SQLite that can be read: ")
    path.write_bytes(data[:16] + b"\xff" * 100)
    (rejected,) = read(path)
    assert rejected.reason.startswith("Not a database of SQLite that can be read: ")


def test_a_schema_that_is_no_text_is_refused(log):
    """The message of SQLite quotes it as it is."""
    path = log(ANSWERED)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"CREATE", b"CREA\xf6E"))
    (rejected,) = read(path)
    assert rejected.reason.startswith("Not a database of SQLite that can be read: ")


def test_what_is_no_database_is_refused():
    (rejected,) = read_files(Files(io.BytesIO(b"{}")), "llm")
    assert rejected.reason == "Not a database of SQLite that can be read: file is not a database."


def test_views_are_no_tables(tmp_path):
    path = tmp_path / "views.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE VIEW responses AS SELECT 1 AS id")
    connection.execute("CREATE VIEW conversations AS SELECT 1 AS id")
    connection.close()
    assert list(read_files(Files(path), "llm")) == []
    assert lines.MAX_LINE_BYTES == sqlite.MAX_LINE_BYTES
