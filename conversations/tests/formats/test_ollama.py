from datetime import UTC, datetime

import pytest

from conversations.formats import AUTO, Files, read_files, reasoning_of
from conversations.tests.formats.databases import write_database

CREATED = "2026-01-31 10:30:00.123456789+01:00"
LATER = "2026-01-31 09:31:00"


def message(id_, role, content="", **fields):
    row = {"id": id_, "chat_id": "c1", "role": role, "content": content, "thinking": ""}
    return row | {"stream": 0, "created_at": CREATED, "updated_at": LATER} | fields


CHAT = {"id": "c1", "title": "Dunes", "created_at": CREATED}
SAID = [
    message(1, "user", "Name a dune."),
    message(2, "assistant", "Pilat.", model_name="qwen3", thinking="France."),
]


@pytest.fixture
def chats(tmp_path):
    def write(*messages, chats=(CHAT,), **tables):
        known = {
            "chats": list(chats),
            "messages": list(messages or SAID),
            "tool_calls": [{"id": None, "message_id": None}],
        }
        path = write_database(tmp_path / "db.sqlite", **(known | tables))
        return list(read_files(Files(path), AUTO))

    return write


def test_a_chat_is_read_with_its_fields(chats):
    (chat,) = chats()
    assert (chat.format, chat.line, chat.file_id, chat.title) == ("ollama", 1, "c1", "Dunes")
    assert (chat.model_used, chat.metadata) == ("qwen3", {})
    assert chat.created_at == datetime(2026, 1, 31, 9, 30, 0, 123_456, tzinfo=UTC)
    assert chat.updated_at == datetime(2026, 1, 31, 9, 31, tzinfo=UTC)
    asked, answered = chat.messages
    assert (asked.role, asked.content, asked.created_at) == (
        *("user", "Name a dune.", chat.created_at),
    )
    assert (answered.content, answered.model) == ("Pilat.", "qwen3")
    assert reasoning_of(answered.parts, answered.extra) == "France."
    assert asked.extra == {"updated_at": LATER}


def test_calls_are_linked_to_their_results(chats):
    (chat,) = chats(
        message(1, "user", "Wind?"),
        message(2, "assistant"),
        message(3, "tool", "Strong.", tool_result={"speed": 9}),
        message(4, "tool", "None."),
        tool_calls=[
            {
                "id": 7,
                "message_id": 2,
                "type": "function",
                "function_name": "wind",
                "function_arguments": '{"at": "Pilat"}',
                "function_result": {"speed": 9},
            }
        ],
    )
    _, called, strong, none = chat.messages
    function = {"name": "wind", "arguments": '{"at": "Pilat"}'}
    assert called.tool_calls == [{"id": "call_7", "type": "function", "function": function}]
    assert called.extra["function_results"] == [{"speed": 9}]
    assert (strong.tool_call_id, strong.extra["tool_result"]) == ("call_7", {"speed": 9})
    assert none.tool_call_id is None


def test_files_and_the_state_of_the_browser_are_kept(chats):
    (chat,) = chats(
        message(1, "user", "", stream=1),
        chats=[CHAT | {"browser_state": {"page": 1}}],
        attachments=[{"id": 1, "message_id": 1, "filename": "a.txt", "data": b"abc"}],
    )
    (asked,) = chat.messages
    assert asked.parts == [{"type": "file", "filename": "a.txt", "data": "YWJj"}]
    assert asked.extra["stream"] == 1
    assert chat.metadata == {"browser_state": {"page": 1}}


def test_an_older_schema_and_empty_chats_and_messages_are_read(chats):
    """Version 2 has no `attachments`, `tool_result` or `browser_state`."""
    other = {"id": "c0", "title": "", "created_at": LATER}
    first, empty = chats(message(1, "assistant"), chats=[other, CHAT])
    assert (first.file_id, first.title, first.messages) == ("c0", None, ())
    assert empty.messages[0].parts == [{"type": "text", "text": ""}]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"created_at": "then"}, "messages.0.created_at: Not a date and time with an offset"),
        ({"role": None}, "A column has no value, or one of another type."),
    ],
)
def test_a_chat_that_is_none_says_why_and_costs_no_other(chats, fields, reason):
    other = CHAT | {"id": "c0", "created_at": LATER}
    bad = message(9, "user", "x", chat_id="c0") | fields
    rejected, chat = chats(*SAID, bad, chats=[other, CHAT])
    assert (rejected.line, rejected.reason[: len(reason)]) == (1, reason)
    assert (chat.line, chat.file_id) == (2, "c1")
