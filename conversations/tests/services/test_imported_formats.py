"""What the readers of data sets and of databases make of a file can be stored, and is stored once.

Runs on samples of this project, and on the files of the folder in IMPORT_SAMPLES if there is one:
each is read as the format that is recognised.
"""

import io
import json
import os
import sqlite3
from collections import defaultdict
from pathlib import Path

import pytest

from conversations.formats import AUTO, Chat, Files, read_files
from conversations.models import Conversation, Message
from conversations.services.imports import import_conversations
from conversations.tests.factories import make_user
from conversations.tests.formats.databases import write_database

pytestmark = pytest.mark.django_db

HELLO = {"role": "user", "content": "Hello"}
EMPTY = {"role": "assistant", "content": ""}
TIME = "2026-01-31T09:30:00+00:00"

LINES = {
    "sharegpt": [
        {
            "id": "s",
            "system": "Be brief.",
            "conversations": [
                {"from": "human", "value": "Tide?"},
                {"from": "function_call", "value": '{"name": "tide", "arguments": {}}'},
                {"from": "observation", "value": ""},
                {"from": "gpt", "value": ""},
            ],
        }
    ],
    "ultrachat": [
        {"id": "raw", "data": ["Hello", ""]},
        {"prompt_id": "p", "prompt": "Hello", "messages": [HELLO, EMPTY]},
    ],
    "lmsys": [
        {
            "conversation_id": "c",
            "model": "m",
            "conversation": [HELLO, EMPTY],
            "openai_moderation": [{"flagged": False}, {"flagged": True}],
        }
    ],
    "wildchat": [
        {
            "conversation_hash": "h",
            "model": "m",
            "timestamp": "2023-04-09 00:02:55",
            "conversation": [
                HELLO | {"hashed_ip": "f00d", "header": {"user-agent": "a"}},
                EMPTY | {"timestamp": TIME, "usage": {"prompt_tokens": 1}},
            ],
        }
    ],
    "openai": [
        {
            "input": {"messages": [HELLO], "tools": [], "parallel_tool_calls": False},
            "preferred_output": [{"role": "assistant", "content": "Hello!"}],
            "non_preferred_output": [{"role": "assistant", "content": "What?"}],
        },
        {"messages": [HELLO, {"role": "assistant", "content": "Hi", "weight": 0}], "functions": []},
    ],
    "json": [{"id": "j", "owner": "ann", "source": "api", "pinned": True, "messages": [HELLO]}],
}

LLM = {
    "conversations": [{"id": "c", "name": "T", "model": "m"}],
    "responses": [
        {
            "id": "r",
            "model": "m",
            "prompt": "Hello",
            "response": "",
            "conversation_id": "c",
            "datetime_utc": TIME,
            "response_json": {"id": "x"},
        }
    ],
}
OLLAMA = {
    "chats": [{"id": "c", "title": "", "created_at": TIME}],
    "messages": [
        {"id": 1, "chat_id": "c", "role": "user", "content": "Hello", "created_at": TIME},
        {"id": 2, "chat_id": "c", "role": "assistant", "content": "", "thinking": "Hm"},
    ],
    "tool_calls": [{"id": None, "message_id": None}],
}


@pytest.fixture
def folder(tmp_path):
    """A file of each format."""
    for name, values in LINES.items():
        text = "".join(json.dumps(value) + "\n" for value in values)
        (tmp_path / f"{name}.jsonl").write_text(text)
    write_database(tmp_path / "llm.db", **LLM)
    write_database(tmp_path / "ollama.sqlite", **OLLAMA)
    return tmp_path


def import_all(path, owner):
    report_of = {}
    for chat in read_files(Files(path), AUTO):
        name = chat.format if isinstance(chat, Chat) else chat.file
        report = import_conversations(chats=[chat], owner_id=owner.pk, source=f"import:{name}")
        report_of.setdefault(name, []).append(report)
    return report_of


def test_what_is_read_is_stored_once(folder):
    ann = make_user("ann")
    first = import_all(folder, ann)
    assert {name: sum(each.created for each in reports) for name, reports in first.items()} == {
        **{name: len(values) for name, values in LINES.items()},
        "llm": 1,
        "ollama": 1,
    }
    stored = Message.objects.filter(user_id=ann.pk).count()
    again = import_all(folder, ann)
    assert all(each.already_there == 1 for reports in again.values() for each in reports)
    assert Message.objects.filter(user_id=ann.pk).count() == stored


def test_a_line_of_preferences_is_stored_as_branches_and_loses_nothing():
    given = LINES["openai"][0]
    chats = list(read_files(Files(io.BytesIO(json.dumps(given).encode())), AUTO))
    import_conversations(chats=chats, owner_id=make_user("ann").pk, source="import:openai")
    hello, better, worse = Message.objects.in_order()
    assert (better.content, better.branch, better.extra) == (
        *("Hello!", 0, {"preference": "preferred_output"}),
    )
    assert (worse.branch, worse.extra) == (1, {"preference": "non_preferred_output"})
    assert hello.conversation.metadata == {
        "openai": {"input": {"tools": [], "parallel_tool_calls": False}}
    }
    assert hello.conversation.active_branch == 0


# The texts of a value of a file, in order, by the name of its format.
TEXTS = {
    "sharegpt": lambda value: [each["value"] for each in value["conversations"]],
    "ultrachat": lambda value: [each["content"] for each in value["messages"]],
    "wildchat": lambda value: [each["content"] for each in value["conversation"]],
    "openai": lambda value: [each["content"] or "" for each in value["messages"]],
}


def values_of(path):
    text = path.read_text()
    return json.loads(text) if text.lstrip().startswith("[") else map(json.loads, text.splitlines())


def texts_in_log(path):
    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as connection:
        said = connection.execute("SELECT system, prompt, response FROM responses").fetchall()
        returned = connection.execute("SELECT output FROM tool_results").fetchall()
        return sorted(text for row in said + returned for text in row if text)


@pytest.mark.skipif("IMPORT_SAMPLES" not in os.environ, reason="no folder of samples")
def test_samples_are_stored_with_their_texts():
    """Each file of the folder is read, and those of formats that are read here say the same."""
    path = Path(os.environ["IMPORT_SAMPLES"])
    owner = make_user("ann")
    texts = defaultdict(list)
    formats = {}
    seen = set()
    for chat in read_files(Files(path), AUTO):
        assert isinstance(chat, Chat)
        source = f"import:{chat.format}"
        report = import_conversations(chats=[chat], owner_id=owner.pk, source=source)
        assert (report.rejected, report.created) == ([], 1)
        (new,) = set(Conversation.objects.owned_by(owner.pk).values_list("pk", flat=True)) - seen
        seen.add(new)
        messages = Message.objects.of(owner.pk, new).in_order()
        texts[chat.file] += messages.values_list("content", flat=True)
        formats[chat.file] = chat.format
    names = {str(each.relative_to(path)) for each in path.rglob("*.*") if each.suffix != ".md"}
    assert formats.keys() == names
    for name, format_name in formats.items():
        if format_name in TEXTS:
            said = [text for value in values_of(path / name) for text in TEXTS[format_name](value)]
            assert texts[name] == said
        elif format_name == "llm":
            assert sorted(filter(None, texts[name])) == texts_in_log(path / name)
