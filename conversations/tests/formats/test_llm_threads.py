"""The tables of llm since 0.32, as 0.36 writes them."""

from datetime import UTC, datetime

import pytest

from conversations.formats import AUTO, Files, read_files, reasoning_of
from conversations.tests.formats.databases import write_database

FIRST = "2026-01-31T09:30:00+00:00"
LATER = "2026-01-31T09:31:00+00:00"
LAST = "2026-01-31T09:32:00+00:00"


def message(hash_, parent, role, *parts, **fields):
    """A row of `messages`, and those of its parts: texts, or (type, payload)."""
    rows = []
    for position, part in enumerate(parts):
        row = {"message_hash": hash_, "position": position, "type": "text"}
        kind = {"text": part} if isinstance(part, str) else {"type": part[0], "payload": part[1]}
        rows.append(row | kind)
    return {"hash": hash_, "parent_hash": parent, "role": role} | fields, rows


def turn(id_, parent, tip, time=FIRST, **fields):
    return {
        "id": id_,
        "thread_id": "t1",
        "parent_message_hash": parent,
        "tip_message_hash": tip,
        "model": "m1",
        "datetime_utc": time,
    } | fields


SAID = [
    message("q1", None, "user", "Name a cape."),
    message("a1", "q1", "assistant", "Cape Horn."),
    message("q2", "a1", "user", "Another one."),
    message("a2", "q2", "assistant", "Finisterre."),
]


@pytest.fixture
def log(tmp_path):
    def write(messages=SAID, turns=(), tip=None, **tables):
        thread = {"id": "t1", "name": "Capes", "tip_message_hash": tip, "datetime_utc": FIRST}
        known = {
            "messages": [row for row, _ in messages],
            "parts": [row for _, rows in messages for row in rows] or [{"message_hash": None}],
            "threads": [thread],
            "turns": list(turns) or [{"id": None, "thread_id": None}],
        }
        return write_database(tmp_path / "logs.db", **(known | tables))

    return write


def read(path):
    return list(read_files(Files(path), AUTO))


def at(text):
    return datetime.fromisoformat(text).astimezone(UTC)


def test_a_thread_is_a_conversation(log):
    turns = [
        turn("r1", "q1", "a1", input_tokens=5, output_tokens=2, duration_ms=900),
        turn("r2", "q2", "a2", LATER, model="m2", options_json={"seed": 1}),
    ]
    (chat,) = read(log(turns=turns, tip="a2"))
    assert (chat.format, chat.line, chat.file_id, chat.title) == ("llm", 1, "t1", "Capes")
    assert (chat.model_used, chat.parents, chat.active) == ("m2", (), None)
    assert (chat.created_at, chat.updated_at) == (at(FIRST), at(LATER))
    assert [(each.role, each.content, each.model, each.created_at) for each in chat.messages] == [
        ("user", "Name a cape.", "", at(FIRST)),
        ("assistant", "Cape Horn.", "m1", at(FIRST)),
        ("user", "Another one.", "", at(LATER)),
        ("assistant", "Finisterre.", "m2", at(LATER)),
    ]
    _, first, _, second = chat.messages
    assert (first.prompt_tokens, first.completion_tokens, first.latency_ms) == (5, 2, 900)
    assert (first.extra, second.extra) == ({"id": "r1"}, {"id": "r2", "options": {"seed": 1}})


@pytest.mark.parametrize(("tip", "text"), [("a2", "Finisterre."), ("a3", "North.")])
def test_answers_to_the_same_messages_are_branches(log, tip, text):
    again = [message("q3", "a1", "user", "A cold one."), message("a3", "q3", "assistant", "North.")]
    turns = [turn("r1", "q1", "a1"), turn("r2", "q2", "a2", LATER), turn("r3", "q3", "a3", LAST)]
    (chat,) = read(log([*SAID, *again], turns, tip))
    assert chat.parents == (None, 0, 1, 2, 1, 4)
    assert chat.messages[chat.active].content == text


def test_calls_results_and_reasoning_have_their_columns(log):
    call = {"name": "tide", "arguments": {"cape": "Horn"}, "tool_call_id": "c1"}
    search = {"name": "search", "arguments": {}, "server_executed": True}
    said = [
        message("q", None, "user", "Tide?"),
        message(
            *("m", "q", "assistant"),
            ("reasoning", {"text": "A tool knows.", "provider_metadata": {"sig": "x"}}),
            ("tool_call", call),
            ("tool_call", {"name": "tide", "arguments": {}}),
            ("tool_call", search),
        ),
        message(
            *("r", "m", "tool"),
            ("tool_result", {"name": "tide", "output": "High.", "tool_call_id": "c1"}),
            ("tool_result", {"name": "tide", "output": "", "exception": "Error: no"}),
        ),
        message("a", "r", "assistant", "It is ", "high.", provider_metadata={"id": "p"}),
    ]
    (chat,) = read(log(said, [turn("r1", "q", "m"), turn("r2", "r", "a", LATER)], "a"))
    assert [each.role for each in chat.messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ]
    _, called, high, failed, answer = chat.messages
    assert reasoning_of(called.parts, called.extra) == "A tool knows."
    assert called.parts[0]["provider_metadata"] == {"sig": "x"}
    assert called.parts[1] == {"type": "tool_call"} | search
    assert [(each["id"], each["function"]["arguments"]) for each in called.tool_calls] == [
        *(("c1", '{"cape": "Horn"}'), ("m:1", "{}")),
    ]
    assert (high.tool_call_id, high.name, high.content) == ("c1", "tide", "High.")
    assert failed.extra == {"exception": "Error: no"}
    assert (answer.content, len(answer.parts)) == ("It is high.", 2)
    assert answer.extra["provider_metadata"] == {"id": "p"}


def test_references_are_resolved(log):
    pieces = [{"fragment": 1}, {"literal": "\nSum it up."}]
    said = [
        message(
            "q",
            None,
            "user",
            ("text", {"text_ref": pieces}),
            ("attachment", {"attachment": {"id": "f"}}),
        ),
        message("a", "q", "assistant", "A cape."),
    ]
    path = log(
        said,
        [turn("r1", "q", "a")],
        "a",
        fragments=[
            {"id": 1, "hash": "h1", "content": "A book.", "source": "book.txt"},
            {"id": 2, "hash": "h2", "content": "A rule."},
        ],
        turn_fragments=[
            {"turn_id": "r1", "fragment_id": 1, "order": 0, "kind": "prompt"},
            {"turn_id": "r1", "fragment_id": 2, "order": 0, "kind": "system"},
        ],
        attachments=[
            {"id": "f", "type": "text/plain", "path": "f.txt", "url": None, "content": None}
        ],
        tools=[{"id": 1, "name": "tide"}],
        turn_tools=[{"turn_id": "r1", "tool_id": 1}],
    )
    (chat,) = read(path)
    asked, answer = chat.messages
    assert asked.content == "A book.\nSum it up."
    assert asked.parts == [
        {"type": "text", "text": asked.content},
        {"type": "attachment", "id": "f", "mime_type": "text/plain", "path": "f.txt"},
    ]
    assert answer.extra["fragments"] == [
        {"kind": "prompt", "hash": "h1", "source": "book.txt"},
        {"kind": "system", "hash": "h2", "content": "A rule."},
    ]
    assert chat.metadata == {"tools": [{"name": "tide"}]}


def test_a_conversation_of_both_tables_is_one(log):
    """llm stores all messages of a conversation again, when it goes on with a later release."""
    old = {"model": "m0", "conversation_id": "t1", "datetime_utc": FIRST}
    path = log(
        turns=[turn("r2", "q2", "a2", LATER)],
        tip="a2",
        conversations=[{"id": "t1", "name": "First title"}, {"id": "o1", "name": "Old"}],
        responses=[
            old | {"id": "r1", "prompt": "Name a cape.", "response": "Cape Horn."},
            old | {"id": "r0", "prompt": "Hi", "response": "Hello", "conversation_id": "o1"},
        ],
    )
    both, older = read(path)
    assert (both.line, both.file_id, both.title) == (1, "t1", "First title")
    assert [(each.model, each.created_at) for each in both.messages] == [
        *(("", at(FIRST)), ("m0", at(FIRST)), ("", at(LATER)), ("m1", at(LATER))),
    ]
    assert (older.line, older.file_id, len(older.messages)) == (2, "o1", 2)


def test_a_fork_has_the_messages_that_it_begins_with(log):
    threads = [
        {"id": "t1", "name": "Capes", "tip_message_hash": "a2", "datetime_utc": FIRST},
        {
            "id": "t2",
            "name": "Fork",
            "tip_message_hash": "q2",
            "datetime_utc": LAST,
            "forked_from": "t1",
        },
    ]
    turns = [turn("r1", "q1", "a1"), turn("r2", "q2", "a2", LATER)]
    _, fork = read(log(turns=turns, threads=threads))
    assert fork.metadata == {"forked_from": "t1"}
    assert [(each.content, each.model, each.created_at) for each in fork.messages] == [
        ("Name a cape.", "", at(FIRST)),
        ("Cape Horn.", "m1", at(FIRST)),
        ("Another one.", "", at(LAST)),
    ]


def test_a_thread_without_messages_is_a_conversation(log):
    (chat,) = read(log())
    assert (chat.title, chat.messages, chat.created_at) == ("Capes", (), at(FIRST))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([message("a1", "q1", "assistant", "x")], "turns.0.tip_message_hash: No such message."),
        (
            [message("a1", "q1", "assistant", "x"), message("q1", "a1", "user", "y")],
            "turns.0.tip_message_hash: Follows itself.",
        ),
        ([message("a1", "a1", "assistant", "x")], "turns.0.tip_message_hash: Follows itself."),
    ],
)
def test_a_chain_that_is_broken_is_refused(log, said, reason):
    (rejected,) = read(log(said, [turn("r1", None, "a1")], "a1"))
    assert (rejected.line, rejected.reason) == (1, reason)


def test_a_payload_that_is_no_json_is_kept_as_it_is(log):
    said = [
        message("a1", None, "assistant", ("odd", "{")),
        message("b", "a1", "user", ("text", "[1]")),
    ]
    (chat,) = read(log(said, [turn("r1", None, "b")], "b"))
    assert [each.parts for each in chat.messages] == [
        [{"type": "odd", "payload": "{"}],
        [{"type": "text", "payload": [1]}],
    ]
