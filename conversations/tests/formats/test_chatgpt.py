import io
import json
from datetime import UTC, datetime

import pytest

from conversations.formats import READERS, Chat, Rejected, arrays, reasoning_of
from conversations.tests.factories import DATA

EXPORT = DATA / "conversations.chatgpt.json"


def read(data):
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return list(READERS["chatgpt"](io.BytesIO(text)))


def node(id_, parent=None, children=(), **message):
    """A node of a mapping; without a message unless it says something."""
    if "content" in message and isinstance(message["content"], str):
        message["content"] = {"content_type": "text", "parts": [message["content"]]}
    known = {"id": id_, "author": {"role": "user"}}
    said = known | message if message else None
    return {"id": id_, "parent": parent, "children": list(children), "message": said}


def conversation(*nodes, **fields):
    return {"id": "c", "mapping": {each["id"]: each for each in nodes}} | fields


def message(**fields):
    (chat,) = read([conversation(node("m", **fields))])
    return chat.messages[0] if chat.messages else None


@pytest.fixture
def route():
    return read(EXPORT.read_bytes())[0]


def test_a_conversation_is_read_with_its_fields(route):
    assert (route.line, route.file_id, route.title) == (1, "route", "A route for Saturday")
    assert (route.model_used, route.pinned) == ("auto", True)
    assert route.created_at == datetime(2024, 5, 1, 8, 0, 0, 500_000, tzinfo=UTC)
    assert route.archived_at == route.updated_at
    assert route.metadata == {"conversation_id": "route", "gizmo_id": "g-walks"}


def test_messages_are_in_order_of_time_each_after_the_one_it_follows(route):
    ids = [each.extra["id"] for each in route.messages]
    assert ids == ["q1", "a1", "q1-edited", "thoughts", "call", "result", "a2", "a2-again"]
    assert route.parents == (None, 0, None, 2, 3, 4, 5, 5)


def test_the_path_to_the_current_node_is_active(route):
    assert route.messages[route.active].content == "6.4 km."


def test_tool_calls_parts_and_reasoning_have_their_columns(route):
    _, stopped, asked, thoughts, call, result, *_ = route.messages
    assert (stopped.status, stopped.finish_reason) == ("interrupted", "interrupted")
    assert (stopped.model, asked.content) == ("gpt-4o", "How far is this?")
    assert [part["type"] for part in asked.parts] == ["text", "image_asset_pointer"]
    assert reasoning_of(thoughts.parts, thoughts.extra) == "The scale is on the left."
    assert thoughts.parts[0]["finished"] is True
    function = {"name": "python", "arguments": "print(3.2 * 2)"}
    assert call.tool_calls == [{"id": "call", "type": "function", "function": function}]
    assert (call.content, call.extra["content"]["language"]) == ("", "unknown")
    assert (result.role, result.tool_call_id, result.name) == ("tool", "call", "python")
    assert (result.content, result.extra["author"]) == (
        "6.4",
        {"metadata": {"real_author": "tool:python"}},
    )


def test_what_has_no_column_is_kept(route):
    assert route.messages[0].extra == {
        "id": "q1",
        "status": "finished_successfully",
        "weight": 1.0,
        "metadata": {"request_id": "r1"},
        "recipient": "all",
    }


def test_an_answer_that_is_earlier_than_its_question_follows_it():
    primes = read(EXPORT.read_bytes())[1]
    assert [each.content for each in primes.messages] == ["Name a prime.", "Seven\nor eleven."]
    assert (primes.parents, primes.title) == ((), None)
    assert primes.messages[1].parts == [
        {"type": "text", "text": "Seven"},
        {"type": "text", "text": "or eleven."},
    ]


@pytest.mark.parametrize(
    ("content", "text", "kept"),
    [
        ({"content_type": "code", "language": "python", "text": "1"}, "1", {"language": "python"}),
        ({"content_type": "tether_browsing_display", "result": "page"}, "page", {}),
        ({"content_type": "reasoning_recap", "content": "Thought"}, "Thought", {}),
        (
            {"content_type": "tether_quote", "text": "q", "url": "https://a.example"},
            "q",
            {"url": "https://a.example"},
        ),
    ],
)
def test_the_text_of_other_contents_is_read(content, text, kept):
    draft = message(content=content)
    assert draft.content == text
    assert draft.extra["content"] == {"content_type": content["content_type"]} | kept


def test_a_content_without_text_is_a_part():
    content = {"content_type": "user_editable_context", "user_profile": "p"}
    assert message(content=content).parts == [{"type": "user_editable_context"} | content]


def test_a_transcript_is_text():
    part = {"content_type": "audio_transcription", "text": "Hello", "direction": "in"}
    draft = message(content={"content_type": "multimodal_text", "parts": [part]})
    assert (draft.content, draft.parts) == ("Hello", [{"type": "text"} | part])


@pytest.mark.parametrize("content", ["", {"content_type": "text", "parts": []}, None])
def test_an_empty_message_is_left_out(content):
    left_out = node("b", "a", ["c"], author={"role": "system"}, content=content)
    (chat,) = read([conversation(node("a", content="1"), left_out, node("c", "b", content="2"))])
    assert [each.content for each in chat.messages] == ["1", "2"]


def test_siblings_without_times_are_in_the_order_of_their_parent():
    (chat,) = read(
        [
            conversation(
                node("b", "a", content="second"),
                node("c", "a", content="first"),
                node("a", None, ["c", "b"], content="question"),
                current_node="c",
            )
        ]
    )
    assert [each.content for each in chat.messages] == ["question", "first", "second"]
    assert (chat.parents, chat.active) == ((None, 0, 0), 1)


def test_a_node_without_a_message_is_current_where_the_message_before_it_is():
    (chat,) = read(
        [
            conversation(
                node("a", content="1"),
                node("b", "a", content="2"),
                node("c", "a", content="3"),
                node("d", "b"),
                current_node="d",
            )
        ]
    )
    assert chat.messages[chat.active].content == "2"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "Not an object."),
        ({"id": "c"}, "mapping: Missing."),
        (conversation(node("a", "b", content="x")), "mapping.a.parent: No such node"),
        (
            conversation(node("a", "b", content="x"), node("b", "a", content="y")),
            "mapping: Some of the nodes have no first one before them.",
        ),
        (conversation(node("a", author=None)), "mapping.a.message.author: Missing."),
        (conversation(node("a", author={})), "mapping.a.message.author.role: Missing."),
        (
            conversation(node("a", content="x", create_time="now")),
            "mapping.a.message.create_time: Not a time in seconds since 1970.",
        ),
        (
            conversation(node("a", content="x", create_time=1e300)),
            "mapping.a.message.create_time: Not a time in seconds since 1970.",
        ),
        (conversation(node("a", content="x"), create_time=True), "create_time: Not a time in"),
        (conversation(node("a", content={"parts": "x"})), "mapping.a.message.content.parts: Not"),
    ],
)
def test_a_conversation_that_is_none_says_why_and_loses_no_other(value, expected):
    good = conversation(node("a", content="x"))
    first, rejected, last = read([good, value, good])
    assert isinstance(first, Chat)
    assert isinstance(last, Chat)
    assert (rejected.line, rejected.reason[: len(expected)]) == (2, expected)


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        (b"", 1, "The file ends before the end of the array."),
        (b"{}", 1, "Not a JSON array."),
        (b"[1 2]", 2, "No comma after the value before."),
        (b'[{"a": 1}, {"b": }]', 2, "Not JSON: Expecting value at character 7."),
        (b'[{"a": 1}', 2, "The file ends before the end of the array."),
        (b'[{"a": 1}, {"b"', 2, "Not JSON: Expecting ':' delimiter at character 5."),
        (b'[{"a": "\xff"}]', 1, "Not UTF-8."),
        (b"[" * 100_000, 1, "Nested too deeply."),
    ],
)
def test_an_array_that_is_none_says_where(text, place, expected):
    *_, rejected = read(text)
    assert rejected == Rejected(place, f"{expected} The rest of the file is not read.")


def test_a_repeated_name_is_refused_and_loses_no_other():
    found = read(b'[{"id": 1, "id": 2}, {"id": "c", "mapping": {}}]')
    assert found == [
        Rejected(1, "An object has the name 'id' more than once."),
        Chat(line=2, file_id="c", messages=(), metadata={"conversation_id": "c"}),
    ]


def test_values_are_read_over_the_ends_of_chunks(monkeypatch):
    chats = [conversation(node("a", content=f"é{i}" * i), id=str(i)) for i in range(40)]
    whole = read(chats)
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 7)
    text = json.dumps(chats, ensure_ascii=False, indent=1).encode()
    assert read(b"\xef\xbb\xbf" + text) == whole


def test_a_value_without_an_end_is_not_held_whole(monkeypatch):
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 100)
    monkeypatch.setattr(arrays, "MAX_VALUE_BYTES", 1_000)

    class Endless(io.BytesIO):
        given = 0

        def read(self, size=-1):
            self.given += size
            return b'[{"a": "' + b"a" * size if self.given == size else b"a" * size

        def seek(self, *_):
            self.given = 0

    file = Endless()
    (rejected,) = READERS["chatgpt"](file)
    assert rejected.reason == "Longer than 1,000 bytes. The rest of the file is not read."
    assert file.given < 10_000
