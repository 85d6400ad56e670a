import json
from datetime import UTC, datetime

import pytest

from conversations.formats import Rejected, reasoning_of
from conversations.formats.codex import looks_like_codex
from conversations.tests.formats.exports import read, read_sample, sample

SAMPLE = "rollout.codex.jsonl"


def line(kind, payload, at="2025-10-01T08:00:00Z"):
    return {"timestamp": at, "type": kind, "payload": payload}


def said(text, role="user"):
    part = {"type": "input_text" if role == "user" else "output_text", "text": text}
    return line("response_item", {"type": "message", "role": role, "content": [part]})


def counted(total, prompt=10):
    usage = {"input_tokens": prompt, "output_tokens": 2}
    info = {"total_token_usage": {"total_tokens": total}, "last_token_usage": usage}
    return line("event_msg", {"type": "token_count", "info": info})


@pytest.fixture
def files():
    return read_sample(SAMPLE)[0]


def test_a_session_is_read_with_its_fields(files):
    assert (files.line, files.file_id, files.model_used) == (3, "cx-1", "gpt-5-codex")
    assert files.created_at == datetime(2025, 10, 1, 8, 0, tzinfo=UTC)
    assert files.updated_at == datetime(2025, 10, 1, 8, 0, 6, tzinfo=UTC)
    meta = sample(SAMPLE)[0]["payload"]
    instructions = meta.pop("instructions")
    assert files.metadata == meta
    assert files.messages[0].extra["conversation"] == {"instructions": instructions}


def test_each_item_is_a_message(files):
    items = [each["payload"] for each in sample(SAMPLE) if each["type"] == "response_item"]
    kinds = [item["type"] for item in items if item["type"] != "ghost_snapshot"]
    assert len(files.messages) == len(kinds)
    assert [each.role for each in files.messages] == [
        *("user", "assistant", "assistant", "tool", "assistant", "tool", "assistant")
    ]
    assert files.messages[0].content == "List the files."
    assert files.messages[-1].content == "There is one file."


def test_calls_results_and_reasoning_have_their_columns(files):
    _, thought, call, result, patch, done, _ = files.messages
    assert reasoning_of(thought.parts, thought.extra) == "**Listing files**"
    assert thought.parts[0]["encrypted_content"] == "gAAA"
    function = {"name": "shell", "arguments": '{"command":["ls"]}'}
    assert call.tool_calls == [{"id": "call_1", "type": "function", "function": function}]
    assert (result.tool_call_id, result.content) == ("call_1", "a.py\n")
    custom = {"name": "apply_patch", "input": "*** Begin Patch"}
    assert patch.tool_calls == [{"id": "call_2", "type": "custom", "custom": custom}]
    assert (done.tool_call_id, done.content) == ("call_2", "Done")


def test_models_times_and_tokens_are_those_of_the_lines_around(files):
    _, _, call, result, _, _, last = files.messages
    assert {each.model for each in files.messages} == {"", "gpt-5-codex"}
    assert {each.provider for each in files.messages if each.role == "assistant"} == {"openai"}
    assert result.created_at == datetime(2025, 10, 1, 8, 0, 3, tzinfo=UTC)
    counts = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
    assert [getattr(call, name) for name in counts] == [100, 10, 40, 6]
    assert [getattr(last, name) for name in counts] == [130, 10, 100, 0]
    assert result.prompt_tokens is None


def test_tokens_that_are_reported_again_are_counted_once():
    lines = (
        *(said("1"), said("a", "assistant"), counted(12)),
        *(said("2"), said("b", "assistant"), counted(12), counted(40, 20)),
    )
    (chat,) = read("codex", lines)
    assert [each.prompt_tokens for each in chat.messages] == [None, 10, None, 20]


def test_lines_that_say_something_else_are_kept_and_repeated_ones_are_not(files):
    kept = [each for message in files.messages for each in (message.extra or {}).get("records", ())]
    kinds = [(each["type"], each["payload"].get("type")) for each in kept]
    assert kinds == [
        ("turn_context", None),
        ("event_msg", "exec_command_end"),
        ("response_item", "ghost_snapshot"),
    ]


def test_an_event_that_no_item_repeats_is_kept():
    event = line("event_msg", {"type": "agent_message", "message": "Only here."})
    (chat,) = read("codex", (said("1"), event))
    assert chat.messages[0].extra["records"] == [event]


def test_the_oldest_files_have_items_alone():
    (chat,) = read_sample("oldest.codex.jsonl")
    assert (chat.file_id, chat.line) == ("cx-0", 2)
    assert [each.content for each in chat.messages] == ["Say yes.", "Yes."]
    times = [chat.created_at, *(each.created_at for each in chat.messages)]
    assert set(times) == {datetime(2025, 5, 1, 8, 0, tzinfo=UTC)}
    assert chat.messages[0].extra["records"] == [{"record_type": "state"}]


def test_a_session_that_names_no_id_has_that_of_its_content():
    (chat,) = read("codex", (said("1"),))
    assert chat.file_id is None
    assert chat.key.startswith("v1:sha256:")


def test_the_beginning_of_another_session_is_kept():
    metas = [line("session_meta", {"id": id_}) for id_ in ("one", "two")]
    (chat,) = read("codex", (metas[0], said("1"), metas[1]))
    assert (chat.file_id, chat.messages[0].extra["records"]) == ("one", [metas[1]])


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (b'{"timestamp": "2025", "ty', "Not JSON"),
        (b"5", "Not an object."),
        (b'{"type": "response_item", "payload": 5}', "payload: Not an object."),
        (b'{"type": "response_item", "payload": {}}', "payload.type: Missing."),
        (
            b'{"type": "response_item", "payload": {"type": "function_call", "name": "f"}}',
            "payload.call_id: Missing.",
        ),
        (
            b'{"type": "response_item", "payload": {"type": "message", "content": []}}',
            "payload.role: Missing.",
        ),
        (b'{"type": "event_msg", "payload": {}, "timestamp": 5}', "timestamp: Not a string."),
    ],
)
def test_a_line_that_is_none_says_why_and_loses_no_other(bad, expected):

    good = json.dumps(said("1")).encode()
    rejected, chat = read("codex", b"\n".join([good, bad, good]))
    assert (rejected.line, rejected.reason[: len(expected)]) == (2, expected)
    assert len(chat.messages) == 2


def test_a_file_without_messages_is_refused_but_not_an_empty_one():
    meta = line("session_meta", {"id": "c"})
    assert read("codex", (meta,)) == [Rejected(1, "No messages in this file.")]
    assert read("codex", b"\n") == []


def test_the_format_is_recognised():
    assert all(map(looks_like_codex, sample(SAMPLE)))
    assert looks_like_codex(sample("oldest.codex.jsonl")[0])
    assert not looks_like_codex({"id": "c", "messages": []})
