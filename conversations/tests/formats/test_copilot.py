from datetime import UTC, datetime

import pytest

from conversations.formats import Chat, reasoning_of
from conversations.formats.copilot import looks_like_copilot
from conversations.tests.formats.exports import SAMPLES, read, read_sample, sample

START = {"kind": 0, "v": {"sessionId": "s", "requests": []}}


def request(text="Hello", *response, **fields):
    return {"requestId": "r", "message": {"text": text}, "response": list(response)} | fields


def session(*requests, **fields):
    return {"sessionId": "s", "requests": list(requests)} | fields


def answer(*response, **fields):
    """The messages of the answer to a request."""
    (chat,) = read("copilot", session(request("Hello", *response, **fields)))
    return chat.messages[1:]


@pytest.fixture(params=SAMPLES["copilot"])
def parser(request):
    (chat,) = read_sample(request.param)
    return chat


def test_a_session_is_read_with_its_fields(parser):
    assert (parser.line, parser.file_id, parser.owner) == (1, "vs-1", "dev")
    assert (parser.title, parser.model_used) == ("The parser", "copilot/gpt-4.1")
    assert parser.created_at == datetime(2025, 7, 8, 18, 39, 59, tzinfo=UTC)
    assert parser.updated_at == datetime(2025, 7, 8, 18, 41, tzinfo=UTC)
    assert parser.metadata["responderUsername"] == "GitHub Copilot"
    assert "pending" not in parser.metadata


def test_a_request_is_a_question_and_its_answer(parser):
    said = [(each.role, each.content) for each in parser.messages]
    assert said == [
        ("user", "What does parse do?"),
        ("assistant", "It is in parse.ts."),
        ("tool", "split(line)"),
        ("assistant", "It splits a line."),
        ("user", "Thanks"),
        ("assistant", ""),
    ]


def test_an_answer_has_its_reasoning_calls_times_and_rating(parser):
    question, call, result, last, *_ = parser.messages
    assert reasoning_of(call.parts, None) == "I read the file first."
    function = {"name": "read_file", "arguments": '{"path": "parse.ts"}'}
    assert [each["function"] for each in call.tool_calls] == [function]
    assert result.tool_call_id == call.tool_calls[0]["id"]
    assert (last.first_token_ms, last.latency_ms, last.rating) == (850, 4100, 1)
    assert (last.prompt_tokens, last.completion_tokens) == (900, 30)
    assert question.created_at == datetime(2025, 7, 8, 18, 40, tzinfo=UTC)
    assert call.created_at == datetime(2025, 7, 8, 18, 40, 4, 200_000, tzinfo=UTC)


def test_links_in_a_text_are_kept(parser):
    text = parser.messages[1].parts[1]
    assert text["text"] == "It is in parse.ts."
    assert text["references"][0]["inlineReference"]["path"] == "/srv/app/parse.ts"


def test_other_parts_and_fields_are_kept(parser):
    assert parser.messages[3].parts[1]["type"] == "textEditGroup"
    assert parser.messages[0].extra["variableData"] == {"variables": [{"name": "parse.ts"}]}
    rounds = parser.messages[1].extra["result"]["metadata"]["toolCallRounds"]
    assert rounds[0]["toolCalls"][0]["name"] == "read_file"


def test_a_request_that_failed_is_a_failed_answer(parser):
    failed = parser.messages[5]
    assert (failed.status, failed.error, failed.rating) == ("failed", "The request failed.", -1)
    assert failed.rating_comment == "other"


def test_a_request_that_was_cancelled_is_stopped():
    (draft,) = answer({"value": "Half"}, isCanceled=True)
    assert (draft.content, draft.status) == ("Half", "stopped")
    (draft,) = answer({"value": "Half"}, modelState={"value": 2})
    assert draft.status == "stopped"


def test_a_call_without_its_round_has_what_the_interface_shows():
    part = {"kind": "toolInvocationSerialized", "toolId": "run", "toolCallId": "1"}
    part |= {"resultDetails": {"input": '{"a": 1}', "output": [{"value": "x"}, {"value": "y"}]}}
    call, result = answer(part)
    assert call.tool_calls[0]["function"] == {"name": "run", "arguments": '{"a": 1}'}
    assert (result.tool_call_id, result.content) == ("1", "x\ny")


def test_an_export_has_the_id_of_its_first_request():
    (chat,) = read("copilot", {"requests": [request()], "responderUsername": "x"})
    assert chat.file_id == "r"


def test_a_session_without_requests_is_read():
    assert read("copilot", session())[0].messages == ()


def test_markdown_content_and_thoughts_in_lists_are_read():
    (draft,) = answer(
        {"kind": "thinking", "value": ["a", "b"]},
        {"kind": "markdownContent", "content": {"value": "Yes."}},
        "plain",
    )
    assert draft.content == "Yes.\nplain"
    assert reasoning_of(draft.parts, None) == "a\nb"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "Not an object."),
        ({"sessionId": "s"}, "requests: Missing."),
        (session(5), "requests.0: Not an object."),
        (session({"requestId": "r"}), "requests.0.message: Missing."),
        (session({"message": {}}), "requests.0.message.text: Missing."),
        (session(request(timestamp="x")), "requests.0.timestamp: Not a time in milliseconds"),
        (session(request(timestamp=1e40)), "requests.0.timestamp: Not a time in milliseconds"),
        (session(request(response=5)), "requests.0.response: Not a list."),
        (session(creationDate=True), "creationDate: Not a time in milliseconds"),
        ({"kind": 1, "k": ["a"], "v": 1}, "k: No such place"),
        ({"kind": 0}, "v: Missing."),
    ],
)
def test_a_session_that_is_none_says_why(value, expected):
    (rejected,) = read("copilot", value)
    assert rejected.reason[: len(expected)] == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"kind": 7, "k": ["a"]}, "kind: Must be 0 to 3."),
        ({"kind": 1, "k": [], "v": 1}, "k: Must be a list"),
        ({"kind": 1, "k": ["gone", "a"], "v": 1}, "k: No such place"),
        ({"kind": 1, "k": ["requests", 5, "a"], "v": 1}, "k: No such place"),
        ({"kind": 1, "k": ["requests", "a"], "v": 1}, "k: No such place"),
        ({"kind": 2, "k": ["sessionId"], "v": [1]}, "k: Not a list."),
        ({"kind": 2, "k": ["requests"], "v": 5}, "v: Not a list."),
        (5, "Not an object."),
    ],
)
def test_a_change_that_cannot_be_made_ends_the_session_there(change, expected):
    pushed = {"kind": 2, "k": ["requests"], "v": [request()]}
    rejected, chat = read("copilot", (START, pushed, change, pushed))
    assert (rejected.line, rejected.reason[: len(expected)]) == (3, expected)
    assert isinstance(chat, Chat)
    assert [each.content for each in chat.messages] == ["Hello"]


def test_changes_set_push_and_delete():
    changes = (
        START,
        {"kind": 2, "k": ["requests"], "v": [request("one"), request("two")]},
        {"kind": 2, "k": ["requests"], "i": 1},
        {"kind": 1, "k": ["requests", 0, "message", "text"], "v": "One"},
        {"kind": 1, "k": ["requests", 1], "v": request("Two")},
        {"kind": 2, "k": ["tags"], "v": ["a"]},
        {"kind": 1, "k": ["gone"], "v": 1},
        {"kind": 1, "k": ["gone"]},
        {"kind": 3, "k": ["never"]},
    )
    (chat,) = read("copilot", changes)
    assert [each.content for each in chat.messages] == ["One", "Two"]
    assert chat.metadata == {"sessionId": "s", "tags": ["a"]}


def test_the_format_is_recognised():
    assert all(looks_like_copilot(sample(name)[0]) for name in SAMPLES["copilot"])
    assert not looks_like_copilot({"kind": 0, "v": {}})


def test_changes_that_nest_too_deeply_to_be_metadata_are_left_to_the_services():
    deep = [{"kind": 1, "k": ["a"] * depth, "v": {}} for depth in range(1, 2_000)]
    push = {"kind": 2, "k": ["requests"], "v": [request()]}
    (chat,) = read("copilot", (START, push, *deep))
    assert "a" not in chat.metadata
    assert "a" in chat.messages[0].extra["conversation"]


def test_many_names_in_a_text_are_read_in_one_pass():
    pieces = [
        {"value": "x "} if i % 2 else {"kind": "inlineReference", "name": f"n{i}"}
        for i in range(20_000)
    ]
    (said,) = answer(*pieces)
    assert said.content.startswith("n0x n2x ")
