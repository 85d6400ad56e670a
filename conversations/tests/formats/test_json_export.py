import io
import json
import uuid
from dataclasses import fields
from datetime import UTC, datetime

import pytest

from conversations.formats import (
    READERS,
    RECORDED_FIELDS,
    WRITERS,
    Chat,
    MessageDraft,
    RecordedChat,
    RecordedMessage,
    Rejected,
)
from conversations.formats.json_export import (
    CHAT_FIELDS,
    CHAT_FIELDS_IGNORED,
    MESSAGE_FIELDS,
    MESSAGE_FIELDS_IGNORED,
)

HELLO = {"role": "user", "content": "Hello"}
AT = datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)
# One value for each field of a message, none of them the default.
EVERYTHING = {
    "role": "assistant",
    "content": "Hi",
    "parts": [{"type": "text", "text": "Hi"}],
    "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
    "tool_call_id": "c",
    "name": "f",
    "provider": "vllm",
    "model": "qwen3",
    "sources": [{"title": "T", "score": 0.5}],
    "detected_mode": "support",
    "status": "failed",
    "finish_reason": "provider_error",
    "error": "E",
    "prompt_tokens": 1,
    "completion_tokens": 2,
    "latency_ms": 3,
    "first_token_ms": 4,
    "rating": -1,
    "rating_comment": "No",
    "metadata": {"a": 1},
    "created_at": AT,
}


def names(kind):
    return {field.name for field in fields(kind)}


def read(*lines):
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return list(READERS["json"](io.BytesIO(b"\n".join(texts))))


def reason(line):
    (rejected,) = read(line)
    assert isinstance(rejected, Rejected), rejected
    return rejected.reason


def test_every_column_of_an_export_is_read_or_left_out_by_name():
    recorded = MESSAGE_FIELDS.keys() | MESSAGE_FIELDS_IGNORED
    assert names(RecordedMessage) - {"runner"} == recorded
    assert set(RECORDED_FIELDS) == MESSAGE_FIELDS.keys()
    exported = CHAT_FIELDS.keys() | CHAT_FIELDS_IGNORED | {"id", "messages", "active_branch"}
    # A `branch` is only that of a path.
    assert names(RecordedChat) - {"branch"} == exported


def test_what_is_written_is_read_again():
    message = RecordedMessage(id=uuid.uuid4(), sequence=7, **EVERYTHING)
    kept = {
        "owner": "ann",
        "title": "T",
        "model_used": "qwen3",
        "metadata": {"topic": "x"},
        "external_id": "ticket-7",
        "tags": ["billing", "vip"],
        "pinned": True,
        "archived_at": AT,
        "created_at": AT,
        "updated_at": AT,
    }
    recorded = RecordedChat(id="c", source="api", messages=[message], **kept)
    (chat,) = read("".join(WRITERS["jsonl"].write(recorded)).encode())
    said = MessageDraft(**EVERYTHING)
    assert chat == Chat(line=1, file_id="c", messages=(said,), **kept)


def test_only_the_role_is_required():
    (chat,) = read({"messages": [{"role": "tool"}]})
    assert chat == Chat(line=1, messages=(MessageDraft(role="tool"),))
    assert reason({"messages": [{"content": "x"}]}) == "messages.0.role: Missing."


def test_a_conversation_without_messages_is_one():
    (chat,) = read({"id": "a", "messages": []})
    assert chat.messages == ()


@pytest.mark.parametrize("written", ["2026-01-02T03:04:05.6Z", "2026-01-02T04:04:05.600+01:00"])
def test_times_are_read_as_utc(written):
    (chat,) = read({"created_at": written, "messages": []})
    assert chat.created_at == AT
    assert chat.created_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"Hello", "Not JSON: Expecting value at character 1."),
        ({}, "messages: Missing."),
        ({"messages": {}}, "messages: Not a list."),
        ({"messages": [], "id": True}, "id: Must be a non-empty string or an integer."),
        ({"messages": [], "titel": "x"}, "titel: Unknown field."),
        ({"messages": [], "title": 1}, "title: Not a string."),
        ({"messages": [], "metadata": []}, "metadata: Not an object."),
        ({"messages": [], "model_used": None}, "model_used: Not a string."),
        ({"messages": [], "external_id": 7}, "external_id: Not a string."),
        ({"messages": [], "tags": "vip"}, "tags: Not a list."),
        ({"messages": [], "tags": ["vip", 1]}, "tags.1: Not a string."),
        ({"messages": [], "pinned": 1}, "pinned: Must be true or false."),
        ({"messages": [], "archived_at": "2026-01-02"}, "archived_at: Not a date and time with "),
        ({"messages": [], "created_at": "soon"}, "created_at: Not a date and time with an offset"),
        ({"messages": [], "created_at": 1}, "created_at: Not a string."),
        (
            {"messages": [], "created_at": "0001-01-01T00:00:00+10:00"},
            "created_at: Not a date and time",
        ),
        ({"messages": ["x"]}, "messages.0: Not an object."),
        ({"messages": [HELLO | {"refusal": "x"}]}, "messages.0.refusal: Unknown field."),
        ({"messages": [HELLO | {"content": None}]}, "messages.0.content: Not a string."),
        ({"messages": [HELLO | {"status": None}]}, "messages.0.status: Not a string."),
        ({"messages": [HELLO | {"sources": {}}]}, "messages.0.sources: Not a list."),
        ({"messages": [HELLO | {"rating": True}]}, "messages.0.rating: Not an integer."),
        ({"messages": [HELLO | {"latency_ms": 1.5}]}, "messages.0.latency_ms: Not an integer."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_line_that_is_no_conversation_says_why(line, expected):
    assert reason(line).startswith(expected)


def test_fields_that_came_later_leave_the_key_of_older_conversations_as_it_was():
    (chat,) = READERS["openai"](io.BytesIO(json.dumps({"messages": [HELLO]}).encode()))
    assert chat.key == (
        "v1:sha256:123b85d8dedce4478cff8cd0eae67cf4fd1faeb7362b807e3946773c5adeab51"
    )
    (rated,) = read({"messages": [HELLO | {"rating": 1}]})
    (plain,) = read({"messages": [HELLO]})
    assert plain.key == chat.key != rated.key
    (tagged,) = read({"messages": [HELLO], "tags": ["vip"]})
    (named,) = read({"messages": [HELLO], "external_id": "ticket-7"})
    assert len({plain.key, tagged.key, named.key}) == 3
