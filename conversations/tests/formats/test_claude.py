from datetime import UTC, datetime

import pytest

from conversations.formats import Chat, Rejected, reasoning_of
from conversations.formats.claude import looks_like_claude
from conversations.tests.formats.exports import read, read_sample, sample

SAMPLE = "conversations.claude.json"
FIRST = "00000000-0000-4000-8000-000000000000"


def said(uuid, sender="human", **fields):
    """A message of an export; what it says is its id, unless it has a text or a content."""
    text = {} if "content" in fields else {"text": uuid}
    return {"uuid": uuid, "sender": sender} | text | fields


def conversation(*messages, **fields):
    return {"uuid": "c", "name": "N", "chat_messages": list(messages)} | fields


def message(**fields):
    (chat,) = read("claude", [conversation(said("m", **fields))])
    return chat.messages[0]


@pytest.fixture
def bread():
    return read_sample(SAMPLE)[0]


def test_a_conversation_is_read_with_its_fields(bread):
    (bread_in_file, *_) = sample(SAMPLE)
    assert (bread.line, bread.file_id, bread.owner) == (1, "bread", "acc-1")
    assert (bread.title, bread.pinned) == ("Rye bread", True)
    assert bread.created_at == datetime(2025, 3, 1, 8, 59, 0, 1, tzinfo=UTC)
    assert bread.updated_at == datetime(2025, 3, 1, 9, 10, 2, tzinfo=UTC)
    kept = ("uuid", "summary", "is_starred", "account", "project")
    assert bread.metadata == {name: bread_in_file[name] for name in kept}


def test_messages_are_in_order_of_time_each_after_the_one_it_follows(bread):
    texts = [each.content for each in bread.messages]
    assert texts[1:] == [
        *("About four hours.", "24 degrees", "At 24 degrees, four hours."),
        *("Four to six hours.", "And wheat?", "Half of that."),
    ]
    assert bread.parents == (None, 0, 1, 2, 0, 3, 5)
    assert bread.active is None  # the last message


def test_the_current_leaf_is_active_where_the_file_names_it():
    messages = [
        said("q", parent_message_uuid=FIRST),
        said("a", "assistant", parent_message_uuid="q"),
        said("b", "assistant", parent_message_uuid="q"),
    ]
    (chat,) = read("claude", [conversation(*messages, current_leaf_message_uuid="a")])
    assert chat.messages[chat.active].content == "a"


def test_the_result_of_a_tool_is_a_message_after_its_call(bread):
    _, call, result, answer, *_ = bread.messages
    function = {"name": "weather", "arguments": '{"place": "Graz"}'}
    assert call.tool_calls == [{"id": "toolu_1", "type": "function", "function": function}]
    assert call.parts[2]["message"] == "Asking the weather"
    assert (result.role, result.tool_call_id, result.name) == ("tool", "toolu_1", "weather")
    assert result.extra == {"is_error": False}
    assert (call.finish_reason, answer.finish_reason) == (None, "end_turn")
    assert call.created_at == result.created_at == answer.created_at


def test_reasoning_and_citations_are_kept(bread):
    assert reasoning_of(bread.messages[1].parts, None) == "Rye is slow."
    (kept,) = bread.messages[3].extra["content"]
    assert kept["citations"][0]["url"] == "https://bread.example/rye"


def test_attachments_and_files_are_parts_after_the_text(bread):
    first = bread.messages[0]
    assert first.content == "How long does rye bread rise?\n500 g rye flour\n400 ml of water"
    _, attachment, file = first.parts
    assert (attachment["type"], attachment["file"]["file_name"]) == ("text", "recipe.txt")
    assert file == {"type": "file", "file": {"file_uuid": "f1", "file_name": "loaf.png"}}


def test_an_older_export_has_texts_in_order_of_the_list():
    bird = read_sample(SAMPLE)[1]
    assert [each.content for each in bird.messages] == ["Name a bird.", "The wren."]
    assert (bird.parents, bird.title) == ((), None)


def test_an_empty_conversation_is_read_without_messages():
    empty = read_sample(SAMPLE)[2]
    assert (empty.file_id, empty.messages) == ("empty", ())


def test_a_text_that_says_something_else_than_the_content_is_kept(bread):
    assert "This block is not shown." in bread.messages[1].extra["text"]
    assert "text" not in bread.messages[0].extra


def test_a_message_without_content_is_left_out_and_what_follows_it_stays():
    messages = [
        said("q", parent_message_uuid=FIRST),
        said("e", "assistant", text="", parent_message_uuid="q"),
        said("n", parent_message_uuid="e"),
    ]
    (chat,) = read("claude", [conversation(*messages)])
    assert [each.content for each in chat.messages] == ["q", "n"]


def test_what_is_no_part_is_kept_as_one():
    draft = message(content=["plain", {"text": "untyped"}, 5])
    assert draft.content == "plain"
    assert draft.parts[1:] == [
        {"type": "unknown", "value": {"text": "untyped"}},
        {"type": "unknown", "value": 5},
    ]


@pytest.mark.parametrize(
    ("content", "text"), [("done", "done"), (None, ""), ({"a": [1]}, '{"a": [1]}'), ([], "[]")]
)
def test_a_result_of_any_kind_is_read(content, text):
    part = {"type": "tool_result", "tool_use_id": "t", "content": content}
    draft = message(sender="assistant", content=[part])
    assert (draft.role, draft.content) == ("tool", text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "Not an object."),
        ({"uuid": "c"}, "chat_messages: Missing."),
        (conversation(5), "chat_messages.0: Not an object."),
        (conversation(said("a", sender=None)), "chat_messages.0.sender: Missing."),
        (conversation(said("a", "robot")), "chat_messages.0.sender: Must be `human`"),
        (conversation(said("a", created_at="now")), "chat_messages.0.created_at: Not a date"),
        (conversation(said("a", created_at=5)), "chat_messages.0.created_at: Not a string."),
        (conversation(said("a", content=5)), "chat_messages.0.content: Not a list."),
        (conversation(said("a", files=["x"])), "chat_messages.0.files.0: Not an object."),
        (conversation(said("a"), said("a")), "chat_messages.1: Another message has the same id."),
        (
            conversation(said("a", parent_message_uuid="gone")),
            "chat_messages.0.parent_message_uuid: No message has this id.",
        ),
        (
            conversation(said("a", parent_message_uuid="b"), said("b", parent_message_uuid="a")),
            "Some of the messages have no first one before them.",
        ),
        (conversation(created_at=1e9), "created_at: Not a string."),
        (conversation(account=[]), "account: Not an object."),
    ],
)
def test_a_conversation_that_is_none_says_why_and_loses_no_other(value, expected):
    good = conversation(said("x"))
    first, rejected, last = read("claude", [good, value, good])
    assert isinstance(first, Chat)
    assert isinstance(last, Chat)
    assert (rejected.line, rejected.reason[: len(expected)]) == (2, expected)


def test_one_conversation_alone_is_read_and_lines_of_them():
    one, two = conversation(said("x"), uuid="1"), conversation(said("y"), uuid="2")
    assert [chat.file_id for chat in read("claude", one)] == ["1"]
    assert [(chat.line, chat.file_id) for chat in read("claude", (one, two))] == [
        (1, "1"),
        (2, "2"),
    ]


def test_a_file_that_is_cut_keeps_what_is_before():
    found = read("claude", b'[{"uuid": "c", "chat_messages": []}, {"uuid": "d", "chat_')
    assert isinstance(found[0], Chat)
    assert found[1].line == 2
    assert "The rest of the file is not read." in found[1].reason


def test_an_empty_file_is_refused():
    (rejected,) = read("claude", b" \n")
    assert rejected == Rejected(
        1, "The file ends before the end of the array. The rest of the file is not read."
    )


def test_the_format_is_recognised():
    assert all(map(looks_like_claude, sample(SAMPLE)))
    assert not looks_like_claude({"mapping": {}})
