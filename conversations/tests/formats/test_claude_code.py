import json
from datetime import UTC, datetime

import pytest

from conversations.formats import Chat, Rejected, reasoning_of
from conversations.formats.claude_code import looks_like_claude_code
from conversations.tests.formats.exports import read, read_sample, sample

SAMPLE = "session.claude_code.jsonl"


def line(uuid, parent, content, kind="user", **fields):
    message = {"role": kind, "content": content}
    message |= {name: fields.pop(name) for name in ("id", "model", "usage") if name in fields}
    known = {"type": kind, "uuid": uuid, "parentUuid": parent, "sessionId": "s"}
    return known | {"message": message} | fields


def call(uuid, parent, call_id, api_id):
    part = {"type": "tool_use", "id": call_id, "name": "f", "input": {}}
    return line(uuid, parent, [part], "assistant", id=api_id)


def result(uuid, parent, call_id, text="done"):
    return line(uuid, parent, [{"type": "tool_result", "tool_use_id": call_id, "content": text}])


def ids(chat):
    return [each.extra["uuid"] for each in chat.messages]


@pytest.fixture
def prices():
    return read_sample(SAMPLE)[0]


def test_a_session_is_read_with_its_fields(prices):
    assert (prices.line, prices.file_id, prices.title) == (3, "s-1", "Prices in cents")
    assert prices.model_used == "claude-sonnet-4"
    assert prices.created_at == datetime(2025, 9, 1, 12, 0, tzinfo=UTC)
    assert prices.updated_at == datetime(2025, 9, 1, 12, 3, tzinfo=UTC)
    assert prices.metadata["cwd"] == "/home/dev/shop"
    assert prices.metadata["titles"] == [sample(SAMPLE)[0]]


def test_the_lines_of_a_message_are_one_with_its_usage_once(prices):
    answer = prices.messages[1]
    kinds = [part["type"] for part in answer.parts]
    assert kinds == ["thinking", "text", "tool_use", "tool_use"]
    assert answer.content == "I read both files."
    assert reasoning_of(answer.parts, answer.extra) == "Two files use it."
    assert [each["id"] for each in answer.tool_calls] == ["toolu_a", "toolu_b"]
    assert (answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens) == (115, 60, 100)
    assert (answer.model, answer.finish_reason) == ("claude-sonnet-4", "tool_use")
    assert [each["uuid"] for each in answer.extra["lines"]] == ["a2", "a3", "a3b"]
    assert answer.extra["lines"][0]["timestamp"] == "2025-09-01T12:00:04.000Z"
    counted = [each.completion_tokens for each in prices.messages if each.completion_tokens]
    assert counted == [60, 9, 4]


def test_results_of_parallel_calls_follow_each_other(prices):
    assert prices.parents == (None, 0, 1, 2, 3, 4, 4, 6, 7, 8)
    first, second = prices.messages[2:4]
    assert (first.tool_call_id, first.content) == ("toolu_a", "price = 1.5")
    assert (second.tool_call_id, second.content) == ("toolu_b", "No such file")
    assert first.extra["toolUseResult"] == {"type": "text", "file": {"numLines": 1}}
    assert second.extra["is_error"] is True


def test_a_step_back_is_a_branch_and_the_last_message_is_active(prices):
    assert [prices.messages[index].content for index in (5, 6)] == [
        "Then change it.",
        "Then leave it.",
    ]
    assert prices.active is None


def test_lines_that_are_no_messages_are_kept(prices):
    assert prices.messages[0].extra["records"] == [sample(SAMPLE)[1]]
    kept = [each for message in prices.messages for each in message.extra.get("records", ())]
    assert [each["type"] for each in kept] == ["file-history-snapshot", "progress"]


def test_a_message_of_the_system_is_one(prices):
    system, thanks = prices.messages[8:]
    assert (system.role, system.content) == ("system", "Conversation compacted")
    assert system.extra["compactMetadata"] == {"trigger": "auto"}
    assert thanks.extra["parentUuid"] == "gone"


def test_a_sub_agent_has_a_conversation_of_its_own():
    _, agent = read_sample(SAMPLE)
    assert (agent.file_id, agent.title) == ("s-1:ag-1", None)
    assert [each.content for each in agent.messages] == ["Find all uses of price.", "One use."]
    assert agent.metadata["isSidechain"] is True


def test_sub_agents_without_ids_are_told_apart_by_their_first_lines():
    lines = (
        line("u", None, "go"),
        line("x1", None, "one", isSidechain=True),
        line("y1", None, "two", isSidechain=True),
        line("x2", "x1", "one again", isSidechain=True),
    )
    main, one, two = read("claude_code", lines)
    assert [chat.file_id for chat in (main, one, two)] == ["s", "s:x1", "s:y1"]
    assert ids(one) == ["x1", "x2"]


def test_every_message_of_a_session_is_there_once():
    lines = [each for each in sample(SAMPLE) if each["type"] in ("user", "assistant", "system")]
    found = [message for chat in read_sample(SAMPLE) for message in chat.messages]
    named = [message.extra["uuid"] for message in found]
    named += [each["uuid"] for message in found for each in message.extra.get("lines", ())]
    assert sorted(named) == sorted(each["uuid"] for each in lines)


def test_a_result_that_comes_between_the_lines_of_a_message_follows_it():
    lines = (
        line("u", None, "go"),
        call("a1", "u", "t1", "m1"),
        result("r1", "a1", "t1"),
        call("a2", "r1", "t2", "m1"),
        result("r2", "a2", "t2"),
        line("a3", "r1", "done", "assistant", id="m2"),
    )
    (chat,) = read("claude_code", lines)
    assert ids(chat) == ["u", "a1", "r1", "r2", "a3"]
    assert chat.parents == ()


def test_a_call_that_is_answered_again_begins_a_branch():
    lines = (
        line("u", None, "go"),
        call("a1", "u", "t1", "m1"),
        result("r1", "a1", "t1"),
        line("n1", "r1", "next"),
        result("r2", "a1", "t1", "again"),
    )
    (chat,) = read("claude_code", lines)
    assert ids(chat) == ["u", "a1", "r1", "n1", "r2"]
    assert chat.parents == (None, 0, 1, 2, 1)


def test_what_follows_a_compaction_follows_what_is_before_it():
    boundary = {"type": "system", "subtype": "compact_boundary", "content": "Compacted"}
    boundary |= {"uuid": "y", "parentUuid": None, "logicalParentUuid": "u1"}
    lines = (line("u1", None, "1"), line("u2", "u1", "2"), boundary, line("u3", "y", "3"))
    (chat,) = read("claude_code", lines)
    assert chat.parents == (None, 0, 0, 2)


def test_a_line_that_is_no_message_is_passed_over_in_the_tree():
    lines = (
        line("u1", None, "1"),
        {"type": "attachment", "uuid": "t", "parentUuid": "u1", "attachment": {"content": "x"}},
        line("u2", "t", "2"),
        line("u3", "t", "3"),
    )
    (chat,) = read("claude_code", lines)
    assert chat.parents == (None, 0, 0)
    assert chat.messages[0].extra["records"][0]["attachment"] == {"content": "x"}


def test_lines_without_parents_follow_each_other():
    lines = [line(f"u{index}", None, str(index)) for index in range(3)]
    (chat,) = read("claude_code", tuple({**each, "parentUuid": "unknown"} for each in lines))
    assert chat.parents == ()
    for each in lines:
        del each["parentUuid"]
    (chat,) = read("claude_code", tuple(lines))
    assert chat.parents == ()


@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        ([{"type": "summary", "summary": "S", "leafUuid": "other"}], "S"),
        (
            [
                {"type": "summary", "summary": "Mine", "leafUuid": "u"},
                {"type": "summary", "summary": "Other", "leafUuid": "x"},
            ],
            "Mine",
        ),
        ([{"type": "custom-title", "customTitle": "C"}, {"type": "summary", "summary": "S"}], "C"),
        ([{"type": "ai-title", "aiTitle": " A "}], "A"),
        ([{"type": "summary", "summary": "x" * 300}], "x" * 254 + "…"),
        ([{"type": "summary", "summary": 5}], None),
    ],
)
def test_the_title_is_the_best_that_the_file_has(titles, expected):
    (chat,) = read("claude_code", (*titles, line("u", None, "1")))
    assert chat.title == expected
    assert chat.metadata["titles"] == titles


def test_an_error_of_the_api_is_a_failed_answer():
    said = line("a", None, [{"type": "text", "text": "API Error"}], "assistant", id="m")
    said["message"]["model"] = "<synthetic>"
    (chat,) = read("claude_code", (said | {"isApiErrorMessage": True},))
    assert (chat.messages[0].status, chat.messages[0].error) == ("failed", "API Error")
    assert chat.model_used == ""


def test_what_a_user_says_beside_a_result_is_a_message_of_its_own():
    parts = [
        {"type": "tool_result", "tool_use_id": "t", "content": "done"},
        {"type": "text", "text": "Stop."},
        {"type": "image", "source": {"type": "base64", "data": "aGk="}},
    ]
    (chat,) = read("claude_code", (call("a", None, "t", "m"), line("u", "a", parts)))
    assert [each.role for each in chat.messages] == ["assistant", "tool", "user"]
    assert chat.messages[2].parts == parts[1:]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (b"[1]", "Not an object."),
        (b'{"type": "user", "uu', "Not JSON"),
        (b'{"type": "user", "uuid": "x\xff"}', "Not UTF-8"),
        (b'{"type": "user", "uuid": "b", "timestamp": "now"}', "timestamp: Not a date"),
        (b'{"type": "user", "uuid": "b", "message": 5}', "message: Not an object."),
        (
            b'{"type": "user", "uuid": "b", "message": {"content": {"a": 1}}}',
            "message.content: Not a list.",
        ),
        (
            b'{"type": "user", "uuid": "u", "message": {"content": "other"}}',
            "uuid: Another message has the same id.",
        ),
    ],
)
def test_a_line_that_is_none_says_why_and_loses_no_other(bad, expected):

    good = [json.dumps(each).encode() for each in (line("u", None, "1"), line("v", "u", "2"))]
    rejected, chat = read("claude_code", b"\n".join([good[0], bad, good[1]]))
    assert (rejected.line, rejected.reason[: len(expected)]) == (2, expected)
    assert ids(chat) == ["u", "v"]


def test_a_line_that_is_there_twice_is_read_once():
    (chat,) = read("claude_code", (line("u", None, "1"), line("u", None, "1")))
    assert ids(chat) == ["u"]


def test_lines_that_follow_each_other_in_a_circle_are_refused():
    lines = (line("a", "b", "1"), line("b", "a", "2"))
    assert read("claude_code", lines) == [
        Rejected(1, "Some of the messages have no first one before them.")
    ]


def test_a_message_after_a_circle_of_other_lines_is_refused():
    one = {"type": "progress", "uuid": "p", "parentUuid": "q"}
    two = {"type": "progress", "uuid": "q", "parentUuid": "p"}
    found = read("claude_code", (one, two, line("a", "p", "1")))
    assert found == [Rejected(3, "Some of the messages have no first one before them.")]


def test_a_file_without_messages_is_refused_but_not_an_empty_one():
    summary = {"type": "summary", "summary": "S", "leafUuid": "x"}
    assert read("claude_code", (summary,)) == [Rejected(1, "No messages in this file.")]
    assert read("claude_code", b"") == []


def test_an_answer_without_content_is_kept_as_a_record():
    lines = (line("u", None, "1"), line("a", "u", [], "assistant", id="m"), line("v", "a", "2"))
    (chat,) = read("claude_code", lines)
    assert ids(chat) == ["u", "v"]
    assert chat.messages[0].extra["records"][0]["uuid"] == "a"


def test_the_file_of_a_sub_agent_is_a_conversation():
    lines = (
        line("x1", None, "one", isSidechain=True, agentId="ag"),
        line("x2", "x1", "two", isSidechain=True, agentId="ag"),
    )
    (chat,) = read("claude_code", lines)
    assert isinstance(chat, Chat)
    assert chat.file_id == "s:ag"


def test_the_format_is_recognised():
    assert all(map(looks_like_claude_code, sample(SAMPLE)[:4]))
    assert not looks_like_claude_code({"type": "session_meta", "payload": {}})
    assert not looks_like_claude_code({"type": "message", "role": "user"})


def test_a_line_that_names_a_parent_of_another_agent_follows_none():
    for first in (line("u1", None, "Hello"), {"type": "progress", "uuid": "u1"}):
        other = line("u2", None, "Task", isSidechain=True, agentId="a", logicalParentUuid="u1")
        *_, agent = read("claude_code", (first, other))
        assert ids(agent) == ["u2"]


def test_a_title_of_a_message_whose_id_is_no_text_is_read():
    summary = {"type": "summary", "summary": "Prices", "leafUuid": ["u1"]}
    (chat,) = read("claude_code", (summary, line("u1", None, "Hello")))
    assert chat.title == "Prices"


def test_lines_without_messages_are_passed_once_each():
    """However many messages follow them: this would take minutes otherwise."""
    number = 20_000
    records = [
        {"type": "progress", "uuid": f"r{i}", "parentUuid": f"r{i - 1}" if i else "u"}
        for i in range(number)
    ]
    last = f"r{number - 1}"
    answers = [line(f"a{i}", last, "x", "assistant", id=f"m{i}") for i in range(number)]
    (chat,) = read("claude_code", (line("u", None, "Hello"), *records, *answers))
    assert set(chat.parents) == {None, 0}


def test_results_of_many_calls_are_joined_in_one_pass():
    number = 20_000
    calls = [{"type": "tool_use", "id": f"c{i}", "name": "f", "input": {}} for i in range(number)]
    results = [result(f"r{i}", "a", f"c{i}") for i in range(number)]
    (chat,) = read("claude_code", (line("a", None, calls, "assistant", id="m"), *results))
    assert len(chat.messages) == 1 + number
    assert not chat.parents
