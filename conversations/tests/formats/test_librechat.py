from datetime import UTC, datetime

import pytest

from conversations.formats import Chat, Rejected, reasoning_of
from conversations.formats.librechat import looks_like_librechat
from conversations.tests.formats.exports import SAMPLES, read, read_sample, sample

FIRST = "00000000-0000-0000-0000-000000000000"


def said(id_, parent=FIRST, **fields):
    """A message of a file; what it says is its id, unless it has a text or a content."""
    text = {} if "content" in fields else {"text": id_}
    return {"messageId": id_, "parentMessageId": parent, "isCreatedByUser": True} | text | fields


def conversation(*messages, **fields):
    return {"conversationId": "c", "title": "T", "messages": list(messages)} | fields


def answer(**fields):
    """The messages of an answer of a model."""
    (chat,) = read("librechat", conversation(said("a", isCreatedByUser=False, **fields)))
    return chat.messages


@pytest.fixture(params=SAMPLES["librechat"])
def stars(request):
    (chat,) = read_sample(request.param)
    return chat


def test_a_conversation_is_read_with_its_fields(stars):
    assert (stars.line, stars.file_id, stars.owner) == (1, "stars", "mongo-1")
    assert (stars.title, stars.model_used) == ("Stars in June", "gpt-4o")
    assert stars.updated_at == datetime(2024, 6, 1, 20, 5, 1, tzinfo=UTC)
    assert stars.metadata["options"] == {"model": "gpt-4o", "temperature": 1}
    assert stars.metadata["exportAt"] == "20:06:00 GMT+0000"


def test_nested_and_flat_files_have_the_same_messages(stars):
    texts = [each.content for each in stars.messages]
    assert texts == [
        *("Which stars are bright?", "I look it up.", "Vega, Deneb", "Vega and Deneb."),
        *("Vega.", "How far is Vega?\nVega,25", "The key is not valid."),
    ]
    assert stars.parents == (None, 0, 1, 2, 0, 3, 5)


def test_an_answer_has_its_model_tokens_rating_and_reasoning(stars):
    call, result, last = stars.messages[1:4]
    assert (call.model, call.provider) == ("gpt-4o", "openAI")
    assert reasoning_of(call.parts, None) == "Which stars are up?"
    function = {"name": "sky", "arguments": '{"at": "20:00"}'}
    assert call.tool_calls == [{"id": "call_1", "type": "function", "function": function}]
    assert (result.role, result.tool_call_id) == ("tool", "call_1")
    assert (last.rating, last.rating_comment) == (-1, "Not tonight")
    assert (last.completion_tokens, last.finish_reason) == (12, "stop")
    assert call.extra["feedback"]["tag"] == {"key": "inaccurate"}


def test_what_older_releases_wrote_as_thinking_is_reasoning(stars):
    again = stars.messages[4]
    assert (again.content, again.status) == ("Vega.", "interrupted")
    assert reasoning_of(again.parts, None) == "It is June."


def test_an_error_is_a_failed_answer(stars):
    failed = stars.messages[6]
    assert (failed.status, failed.error) == ("failed", "The key is not valid.")


def test_files_are_parts_and_their_text_is_text(stars):
    _, table, image = stars.messages[5].parts
    assert table == {
        "type": "text",
        "text": "Vega,25",
        "file": {"file_id": "f1", "filename": "stars.csv", "type": "text/csv", "bytes": 7},
    }
    assert image["file"]["filename"] == "sky.png"


def test_other_parts_are_kept():
    parts = [
        {"type": "text", "text": {"value": "See.", "annotations": [1]}},
        {"type": "image_file", "image_file": {"file_id": "f"}},
        {"type": "tool_call", "tool_call": {"type": "code_interpreter", "code_interpreter": {}}},
        {"type": "tool_call", "tool_call": {"name": "f", "args": {"a": 1}}},
    ]
    (draft,) = answer(content=parts)
    assert draft.content == "See."
    assert draft.parts[0] == {"type": "text", "text": "See.", "annotations": [1]}
    assert draft.parts[1:3] == parts[1:3]
    assert draft.tool_calls[0]["function"] == {"name": "f", "arguments": '{"a": 1}'}


def test_a_text_beside_the_content_is_kept():
    (draft,) = answer(content=[{"type": "text", "text": "New."}], text="Old.")
    assert (draft.content, draft.extra["text"]) == ("New.", "Old.")


def test_a_message_without_a_time_has_that_of_the_one_before_it():
    messages = [said("a", createdAt="2024-06-01T20:00:00Z"), said("b", "a"), said("c")]
    (chat,) = read("librechat", conversation(*messages, createdAt="2024-01-01T00:00:00Z"))
    times = {each.content: each.created_at for each in chat.messages}
    assert times["a"] == times["b"] == datetime(2024, 6, 1, 20, 0, tzinfo=UTC)
    assert times["c"] == chat.created_at == datetime(2024, 1, 1, tzinfo=UTC)


def test_deep_threads_are_read():
    nested = said("m0")
    inner = nested
    for index in range(1, 300):
        inner["children"] = [said(f"m{index}", f"m{index - 1}")]
        inner = inner["children"][0]
    (chat,) = read("librechat", conversation(nested, recursive=True))
    assert len(chat.messages) == 300
    assert chat.parents == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "Not an object."),
        ({"conversationId": "c"}, "messages: Missing."),
        (conversation(5), "messages.0: Not an object."),
        (
            conversation(said("a", children=[said("b", createdAt="x")])),
            "messages.0.children.0.createdAt: Not a date",
        ),
        (conversation(said("a"), said("a")), "messages.1: Another message has the same id."),
        (conversation(said("a", "gone")), "messages.0.parentMessageId: No message has this id."),
        (
            conversation(said("a", "b"), said("b", "a")),
            "Some of the messages have no first one before them.",
        ),
        (conversation(said("a", text=5)), "messages.0.text: Not a string."),
    ],
)
def test_a_conversation_that_is_none_says_why_and_loses_no_other(value, expected):
    good = conversation(said("x"))
    first, rejected, last = read("librechat", (good, value, good))
    assert isinstance(first, Chat)
    assert isinstance(last, Chat)
    assert (rejected.line, rejected.reason[: len(expected)]) == (2, expected)


def test_a_file_that_is_cut_is_refused():
    (rejected,) = read("librechat", b'{"conversationId": "c", "messages": [{"mess')
    assert isinstance(rejected, Rejected)
    assert "Not JSON" in rejected.reason


def test_the_format_is_recognised():
    assert all(looks_like_librechat(*sample(name)) for name in SAMPLES["librechat"])
    assert not looks_like_librechat({"conversationId": "c"})
