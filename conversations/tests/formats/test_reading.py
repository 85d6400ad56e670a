"""Which format a file is read in, and what it looks like if it is another one."""

import io
import json
import sqlite3

import pytest

from conversations.formats import AUTO, FORMATS, READERS, Chat, Files, read_files
from conversations.formats.beginnings import first_values

HELLO = {"role": "user", "content": "Hello"}

# One value of each format, by the name of the format.
VALUES = {
    "openai": {"messages": [HELLO]},
    "json": {"id": "1", "owner": "ann", "pinned": False, "source": "api", "messages": [HELLO]},
    "oasst": {
        "message_tree_id": "t",
        "prompt": {"message_id": "t", "text": "?", "role": "prompter"},
    },
    "chatgpt": {"title": "T", "create_time": 1.5, "mapping": {}},
    "claude": {"uuid": "u", "name": "T", "chat_messages": []},
    "openwebui": {"id": "c", "chat": {"models": ["m"], "history": {"messages": {}}}},
    "librechat": {"conversationId": "c", "title": "T", "messages": []},
    "sharegpt": {"id": "1", "conversations": [{"from": "human", "value": "Hello"}]},
    "ultrachat": {"prompt": "Hello", "prompt_id": "p", "messages": [HELLO]},
    "lmsys": {"conversation_id": "c", "model": "m", "conversation": [HELLO]},
    "wildchat": {"conversation_hash": "h", "model": "m", "conversation": [HELLO]},
}
EACH = pytest.mark.parametrize("name", VALUES)


def read(data, name=AUTO):
    return list(read_files(Files(io.BytesIO(data)), name))


def test_each_format_has_a_row():
    assert READERS.keys() == FORMATS.keys()
    assert FORMATS["json"] is FORMATS["jsonl"]
    of_databases = {"llm", "ollama"}
    of_others = {"claude_code", "codex", "copilot", "gemini"}  # what they read is in their tests
    assert FORMATS.keys() - VALUES.keys() == {"jsonl"} | of_databases | of_others


@EACH
@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("is_array", [True, False])
def test_a_format_is_recognised_by_its_first_value(name, indent, is_array):
    value = [VALUES[name]] * 2 if is_array else VALUES[name]
    found = read(json.dumps(value, indent=indent).encode())
    if name == "oasst" and (is_array or indent is not None):  # read as lines alone
        return
    if name == "chatgpt" and not is_array:
        assert [each.reason for each in found] == [
            "Not a JSON array. The rest of the file is not read."
        ]
        return
    assert [each.format for each in found] == [name] * (2 if is_array else 1)


@EACH
def test_lines_are_recognised(name):
    lines = (json.dumps(VALUES[name]) + "\n").encode() * 2
    formats = {each.format for each in read(lines) if isinstance(each, Chat)}
    assert formats == ({name} if name != "chatgpt" else set())


@EACH
@pytest.mark.parametrize("other", VALUES)
def test_a_file_of_another_format_is_refused_once_and_named(name, other):
    if other == name or (name, other) in {("ultrachat", "openai"), ("json", "openai")}:
        return
    if other == "json" and "messages" in VALUES[name]:  # may be one of ours without an export
        return
    text = (json.dumps(VALUES[name]) + "\n").encode() * 3
    (rejected,) = read(text, other)
    assert rejected.reason == (
        f"This looks like {FORMATS[name].label} (format {FORMATS[name].name}), not like {other}."
    )


@pytest.mark.parametrize("indent", [None, 0, 4])
def test_another_format_over_several_lines_is_refused_once(indent):
    whole = json.dumps([VALUES["sharegpt"]] * 3, indent=indent).encode()
    (rejected,) = read(whole, "openai")
    assert rejected.line == 1
    assert rejected.reason == "This looks like ShareGPT (format sharegpt), not like openai."


def test_what_is_nothing_known_is_refused():
    for data in (b"text", b'{"a": 1}', b"[1, 2]", b"\x00\x01", b'"messages"', b"[" * 10_000):
        (rejected,) = read(data)
        assert rejected.reason == "Not recognised as one of the formats that can be read."


@pytest.mark.parametrize("name", [AUTO, "chatgpt", "json"])
def test_an_empty_array_is_an_export_without_conversations(name):
    for data in (b"[]", b"\xef\xbb\xbf [\n] \n"):
        assert read(data, name) == []


def test_what_follows_an_empty_array_is_not_passed_over():
    (rejected,) = read(b"[] x")
    assert rejected.reason == "Not recognised as one of the formats that can be read."


def test_what_is_nothing_known_is_read_as_named():
    first, second = read(b'{"a": 1}\n' + json.dumps(VALUES["openai"]).encode(), "openai")
    assert first.reason == "messages: Missing."
    assert isinstance(second, Chat)


def test_a_first_value_that_says_nothing_does_not_hide_the_next():
    (_, chat) = read(b"{}\n" + json.dumps(VALUES["sharegpt"]).encode())
    assert chat.format == "sharegpt"


def test_a_value_is_recognised_by_its_beginning():
    long = {"id": "1", "conversations": [{"from": "human", "value": "é" * 400_000}]}
    for data in (json.dumps(long), json.dumps([long], ensure_ascii=False)):
        (chat,) = read(data.encode())
        assert (chat.format, len(chat.messages[0].content)) == ("sharegpt", 400_000)


def test_a_database_is_recognised_by_its_tables(tmp_path):
    path = tmp_path / "some.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE chats (id TEXT)")
    connection.close()
    (rejected,) = read_files(Files(path), AUTO)
    assert rejected.reason == "Not recognised as one of the formats that can be read."
    (rejected,) = read_files(Files(path), "openai")
    assert "JSON" in rejected.reason or "UTF-8" in rejected.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": [1, {"b": "cut', {"a": [1, {"b": "cut"}]}),
        ('{"a": 1, "b', {"a": 1}),
        ('{"a": 1, "b": ', {"a": 1}),
        ('{"a": "\\u00', {"a": ""}),
        ('{"a": "\\', {"a": ""}),
        ('{"a": "x\\\\"', {"a": "x\\"}),
        ('{"a": {"b": tru', {"a": {}}),
        ('{"a": ["b", "c', {"a": ["b", "c"]}),
        ('{"a": "]}", "c": [', {"a": "]}", "c": []}),
        ('[{"a": 1}, {"b": 2', {"a": 1}),
        ("{", {}),
    ],
)
def test_a_value_that_goes_on_is_read_up_to_there(text, expected):
    assert first_values(text.encode())[0] == expected


def test_of_a_long_file_few_values_are_looked_at():
    assert len(first_values(b'{"a": 1}\n' * 1000)) == 20
    assert len(first_values(b'{"a": ' * 50_000)) == 1
