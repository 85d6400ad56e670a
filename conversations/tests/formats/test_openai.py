import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice

import pytest

from conversations.formats import READERS, Chat, Rejected
from conversations.formats.lines import read_lines

HELLO = {"role": "user", "content": "Hello"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def read(*lines: object) -> list[Chat | Rejected]:
    """A file with these lines: bytes, or values that are serialised as JSON."""
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return list(READERS["openai"](io.BytesIO(b"\n".join(texts))))


def read_message(**message):
    (chat,) = read({"messages": [HELLO, {"role": "assistant", **message}]})
    assert isinstance(chat, Chat), chat
    return chat.messages[1]


def reason(line: object) -> str:
    (rejected,) = read(line)
    assert isinstance(rejected, Rejected), rejected
    assert rejected.line == 1
    return rejected.reason


def reason_for_message(message: object) -> str:
    return reason({"messages": [HELLO, message]})


def test_a_conversation_with_everything():
    (chat,) = read(
        {
            "id": "c1",
            "title": " A title ",
            "metadata": {"topic": "x"},
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "  Weather?\n", "name": "ann"},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "sun"},
            ],
        }
    )
    assert (chat.line, chat.file_id, chat.title) == (1, "c1", " A title ")
    assert chat.metadata == {"topic": "x", "openai": {"id": "c1"}}
    system, user, assistant, tool = chat.messages
    assert (system.role, system.content) == ("system", "Be kind.")
    assert (user.role, user.content, user.name) == ("user", "  Weather?\n", "ann")
    assert (assistant.content, assistant.tool_calls) == ("", [CALL])
    assert (tool.role, tool.tool_call_id, tool.content) == ("tool", "call_1", "sun")
    assert {message.provider for message in chat.messages} == {""}
    assert {message.created_at for message in chat.messages} == {None}


def test_parts_are_kept_and_their_text_is_the_content():
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "text", "text": "this?", "cache_control": {"type": "ephemeral"}},
    ]
    message = read_message(content=parts)
    assert message.parts == parts
    assert message.content == "What is\nthis?"


def test_unknown_keys_of_a_message_are_kept():
    message = read_message(content="No.", refusal=None, annotations=[{"a": 1}])
    assert message.extra == {"refusal": None, "annotations": [{"a": 1}]}
    assert (message.parts, message.metadata) == (None, {})
    message = read_message(content="No.", weight=0, nonsense=[1], status="odd", metadata="m")
    assert message.extra == {"weight": 0, "nonsense": [1], "status": "odd", "metadata": "m"}
    assert (message.status, message.metadata) == ("complete", {})


def test_what_is_said_instead_of_content_is_the_content():
    message = read_message(content=None, refusal="I cannot.")
    assert message.content == "I cannot."
    assert message.extra == {"refusal": "I cannot.", "content": None}


def test_a_line_has_columns_where_its_keys_fit_them():
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "cost": 0.25}
    said = {"model": "m", "finish_reason": "stop", "created_at": "2026-01-02T03:04:05+01:00"}
    message = read_message(content="x", usage=usage, **said)
    assert (message.model, message.finish_reason) == ("m", "stop")
    assert message.created_at == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)
    assert (message.prompt_tokens, message.completion_tokens) == (5, 3)
    assert message.cost == Decimal("0.25")
    assert message.extra == {"usage": usage}
    odd = {"model": 5, "finish_reason": [], "created_at": 1767322245}
    message = read_message(content="x", **odd)
    assert (message.model, message.finish_reason, message.created_at) == ("", None, None)
    assert message.extra == odd


def test_a_function_call_is_linked_to_its_result():
    call = {"name": "f", "arguments": "{}"}
    (chat,) = read(
        {
            "messages": [
                {"role": "assistant", "content": None, "function_call": call},
                {"role": "function", "name": "f", "content": "1"},
            ]
        }
    )
    asked, answered = chat.messages
    assert asked.tool_calls == [{"id": "call_f", "type": "function", "function": call}]
    assert (answered.role, answered.tool_call_id, answered.name) == ("tool", "call_f", "f")


# With the keys that releases before `extra` gave them.
READ_OTHERWISE_BEFORE = {
    "v1:sha256:d35db910fe08e6e201a0d5cbe699311505baf398aefb9b2140a1aeb46e5a787c": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None},
        {"role": "tool", "tool_call_id": "call_1", "content": "sun", "model": "m"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "It is"},
                {"type": "refusal", "refusal": "No."},
                {"type": "text", "text": "sunny."},
            ],
            "usage": {"prompt_tokens": 3},
        },
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "f", "arguments": "{}"},
            "id": "x",
        },
        {"role": "assistant", "content": None, "refusal": "I cannot."},
    ],
    "v1:sha256:00fc4a433bec66e423541d8b6e9e3fb083549539b075bde50aff15b2d89d0349": [
        {"role": "user", "content": " hi "}
    ],
}


@pytest.mark.parametrize("key", READ_OTHERWISE_BEFORE)
def test_the_key_of_earlier_releases_is_known(key):
    (chat,) = read({"messages": READ_OTHERWISE_BEFORE[key]})
    assert key in (chat.key, chat.earlier and chat.earlier.key)


def test_what_was_read_alike_before_has_no_earlier_form():
    (chat,) = read({"messages": [HELLO, {"role": "tool", "tool_call_id": "c", "content": "x"}]})
    assert chat.earlier is None


def test_unknown_keys_of_a_conversation_are_kept():
    tools = [{"type": "function", "function": {"name": "f"}}]
    (chat,) = read({"id": 7, "tools": tools, "messages": [HELLO]})
    assert chat.file_id == "7"
    assert chat.metadata == {"openai": {"id": 7, "tools": tools}}


def test_metadata_that_already_has_our_name_is_moved_not_lost():
    (chat,) = read({"metadata": {"openai": "theirs", "a": 1}, "messages": [HELLO]})
    assert chat.metadata == {"a": 1, "openai": {"metadata": {"openai": "theirs"}}}


@pytest.mark.parametrize("title", [None, "", "  "])
def test_a_blank_title_is_none(title):
    (chat,) = read({"title": title, "messages": [HELLO]})
    assert chat.title is None


def test_blank_lines_are_skipped_and_counted_as_lines():
    chat, rejected = read(b"\n  \r", {"messages": [HELLO]}, b"", b"{")
    assert (chat.line, rejected.line) == (3, 5)


def test_a_byte_order_mark_and_windows_line_ends_are_tolerated():
    line = json.dumps({"messages": [HELLO]}).encode()
    first, second = read(b"\xef\xbb\xbf" + line + b"\r", line)
    assert isinstance(first, Chat)
    assert isinstance(second, Chat)


def test_only_a_line_feed_ends_a_line():
    content = "a\u2028b\u0085c"
    line = json.dumps({"messages": [{"role": "user", "content": content}]}, ensure_ascii=False)
    (chat,) = read(line.encode())
    assert chat.messages[0].content == content


def test_invalid_utf_8_rejects_that_line_alone():
    good = {"messages": [HELLO]}
    before, bad, after = read(good, b'{"messages": "\xff"}', good)
    assert bad == Rejected(2, "Not UTF-8 at byte 15.")
    assert isinstance(before, Chat)
    assert isinstance(after, Chat)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"Hello", "Not JSON: Expecting value at character 1."),
        (b'{"id": ]', "Not JSON: Expecting value at character 8."),
        (b"[1]", "Not an object."),
        (b"null", "Not an object."),
        (b"[" * 100_000, "Nested too deeply. The rest of the file is not read."),
        (b'{"n": ' + b"9" * 5000 + b"}", "Not JSON: a number with too many digits."),
        (b'{"a": 1, "a": 2}', "An object has the name 'a' more than once."),
        ({}, "messages: Missing."),
        ({"messages": None}, "messages: Missing."),
        ({"messages": {}}, "messages: Not a list."),
        ({"messages": []}, "messages: The list of messages is empty."),
        ({"messages": ["x"]}, "messages.0: Not an object."),
        ({"messages": [HELLO], "title": 1}, "title: Not a string."),
        ({"messages": [HELLO], "metadata": []}, "metadata: Not an object."),
        ({"messages": [HELLO], "metadata": 0}, "metadata: Not an object."),
        *(
            (
                {"messages": [HELLO], "id": id_},
                "id: Must be a non-empty string or an integer.",
            )
            for id_ in ("", True, 1.5, ["a"])
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_line_that_is_no_conversation_says_why(line, expected):
    assert reason(line) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": "x"}, "role: Missing."),
        ({"role": 1}, "role: Not a string."),
        (
            {"role": "user", "content": 1},
            "content: Must be a string, null or a list of parts.",
        ),
        (
            {"role": "user", "content": ["x", 1]},
            "content.1: Not a part: an object with a `type`, or a string.",
        ),
        ({"role": "user", "content": [{"text": "x"}]}, "content.0.type: Missing."),
        ({"role": "user", "content": [{"type": "text"}]}, "content.0.text: Not a string."),
        ({"role": "user", "content": "x", "name": 1}, "name: Not a string."),
        ({"role": "assistant", "tool_calls": {}}, "tool_calls: Not a list."),
        ({"role": "assistant", "tool_calls": [1]}, "tool_calls.0: Not an object."),
        ({"role": "assistant", "tool_calls": [{}]}, "tool_calls.0.id: Missing."),
        ({"role": "assistant", "tool_calls": [{"id": 1}]}, "tool_calls.0.id: Not a string."),
        ({"role": "assistant", "tool_calls": [{"id": "a"}]}, "tool_calls.0.function: Missing."),
        (
            {"role": "assistant", "tool_calls": [CALL, {**CALL, "function": {"name": "f"}}]},
            "tool_calls.1.function.arguments: Missing.",
        ),
        (
            {
                "role": "assistant",
                "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}],
            },
            "tool_calls.0.function.arguments: Not a string.",
        ),
        (
            {"role": "tool", "content": "x"},
            "tool_call_id: Required for a tool message: the id of the tool call that it answers.",
        ),
        ({"role": "tool", "content": "x", "tool_call_id": 1}, "tool_call_id: Not a string."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_message_is_named_by_its_path(message, expected):
    assert reason_for_message(message) == f"messages.1.{expected}"


def test_a_custom_tool_call_is_kept_as_it_is():
    call = {"id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}
    assert read_message(tool_calls=[call]).tool_calls == [call]


def test_a_reason_is_bounded_and_printable():
    name = "\x1b[31m" + "x" * 1_000
    text = reason(('{"' + name + '": 1, "' + name + '": 2}').replace("\x1b", "\\u001b").encode())
    assert len(text) < 400
    assert text.isprintable()


def test_a_line_that_is_too_long_is_rejected_without_being_held():
    file = io.BytesIO(b"a" * 11 + b"\n" + b"b" * 10 + b"\n" + b"c" * 5_000_000)
    first, second, third = read_lines(file, max_bytes=10)
    assert first == Rejected(1, "The line is longer than 10 bytes.")
    assert second == (2, b"b" * 10 + b"\n")
    assert third == Rejected(3, "The line is longer than 10 bytes.")


def test_the_file_is_read_line_by_line():
    class Endless(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            line = json.dumps({"messages": [HELLO]}).encode() + b"\n"
            buffer[: len(line)] = line
            return len(line)

    chats = READERS["openai"](io.BufferedReader(Endless()))
    assert [chat.line for chat in islice(chats, 3)] == [1, 2, 3]


def test_without_an_id_equal_content_gives_the_same_key():
    one, same, other, named = read(
        b'{"messages": [{"role": "user", "content": "Hi"}]}',
        b'{ "messages":[{"content":"Hi","role":"user"}], "title": null}',
        b'{"messages": [{"role": "user", "content": "Ho"}]}',
        b'{"id": "Hi", "messages": [{"role": "user", "content": "Hi"}]}',
    )
    assert one.key == same.key
    assert one.key.startswith("v1:sha256:")
    assert len({one.key, other.key, named.key}) == 3
    assert named.key == "Hi"


def test_a_conversation_may_have_the_keys_of_another_format():
    (chat,) = read({"chat_messages": [], "messages": [HELLO]})
    assert isinstance(chat, Chat)
    text = json.dumps({"mapping": 1, "create_time": 2})
    assert reason({"messages": [HELLO, {"content": text}]}) == "messages.1.role: Missing."


def test_json_over_several_lines_that_is_nothing_known_is_read_line_by_line():
    rejected, chat = read(b"{", {"messages": [HELLO]})
    assert (rejected.line, chat.line) == (1, 2)
    assert read() == []
