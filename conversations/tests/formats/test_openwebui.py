from datetime import UTC, datetime

import pytest

from conversations.formats import Chat, reasoning_of
from conversations.formats.openwebui import looks_like_openwebui
from conversations.tests.formats.exports import read, read_sample, sample

SAMPLE = "chats.openwebui.json"


def said(id_, parent=None, role="user", **fields):
    """A message of a history; what it says is its id, unless it has a content."""
    return {"id": id_, "parentId": parent, "role": role, "content": id_} | fields


def chat_of(*messages, **fields):
    history = {"messages": {each["id"]: each for each in messages}}
    return {"id": "c", "chat": {"history": history | fields.pop("history", {})}} | fields


def answer(content, **fields):
    """The messages of an answer with this content."""
    messages = [said("q"), said("a", "q", "assistant", content=content, **fields)]
    (chat,) = read("openwebui", [chat_of(*messages)])
    return chat.messages[1:]


@pytest.fixture
def garlic():
    return read_sample(SAMPLE)[0]


def test_a_chat_is_read_with_its_fields(garlic):
    assert (garlic.line, garlic.file_id, garlic.owner) == (1, "garlic", "u1")
    assert (garlic.title, garlic.model_used, garlic.tags) == ("Garlic", "llama3", ["garden"])
    assert garlic.pinned is True
    assert garlic.created_at == datetime(2024, 3, 9, 16, 0, tzinfo=UTC)
    assert garlic.archived_at == garlic.updated_at == datetime(2024, 3, 9, 16, 1, 10, tzinfo=UTC)
    assert garlic.metadata["folder_id"] == "fo1"
    assert garlic.metadata["chat"]["params"] == {"temperature": 0.2}


def test_each_message_follows_its_parent_and_the_current_path_is_active(garlic):
    roles = [each.role for each in garlic.messages]
    assert roles == [
        *("user", "assistant", "assistant", "user"),
        *("assistant", "tool", "assistant", "assistant", "tool", "assistant"),
    ]
    assert garlic.parents == (None, 0, 0, 1, 3, 4, 5, 3, 7, 8)
    assert garlic.messages[garlic.active].content == "It has 9 degrees."


def test_an_answer_has_its_model_usage_rating_and_sources(garlic):
    first = garlic.messages[1]
    assert (first.model, first.content) == ("llama3", "In October.")
    assert (first.prompt_tokens, first.completion_tokens) == (21, 4)
    assert (first.rating, first.rating_comment) == (1, "Right")
    assert first.sources[0]["source"] == {"name": "garden.example"}
    assert first.extra["modelName"] == "Llama 3"


def test_what_the_html_of_an_answer_folds_away_is_reasoning(garlic):
    first = garlic.messages[1]
    assert reasoning_of(first.parts, first.extra) == "Garlic needs\nthe cold."
    assert first.parts[0]["duration"] == "2"


def test_calls_in_the_html_of_an_answer_are_calls_with_results(garlic):
    call, result, said_then = garlic.messages[4:7]
    function = {"name": "soil", "arguments": '{"bed": 2}'}
    assert call.tool_calls == [{"id": "call_7", "type": "function", "function": function}]
    assert (result.tool_call_id, result.content) == ("call_7", "9 degrees")
    assert said_then.content == "It has 9 degrees."


def test_output_counts_more_than_the_html(garlic):
    call, result, said_then = garlic.messages[7:]
    assert call.tool_calls[0]["id"] == "call_8"
    assert reasoning_of(call.parts, None) == "I must measure."
    assert (result.tool_call_id, result.content) == ("call_8", "9 degrees")
    assert (said_then.content, said_then.status) == ("Nine degrees.", "interrupted")
    assert "content" not in call.extra


def test_content_that_was_edited_after_the_output_is_kept():
    output = [{"type": "message", "content": [{"type": "output_text", "text": "Ten."}]}]
    (draft,) = answer("Eleven.", output=output)
    assert (draft.content, draft.extra["content"]) == ("Ten.", "Eleven.")


def test_an_error_is_a_failed_answer(garlic):
    failed = garlic.messages[2]
    assert (failed.status, failed.error, failed.content) == (
        "failed",
        "The model is not there.",
        "",
    )


def test_files_are_parts_and_their_text_is_text(garlic):
    question = garlic.messages[0]
    _, soil, image = question.parts
    assert question.content == "When do I plant garlic?\nClay, wet."
    assert soil["file"]["file"] == {
        "id": "f1",
        "filename": "soil.txt",
        "meta": {"size": 10},
    }
    assert image == {"type": "file", "file": {"type": "image", "url": "/files/i1"}}


def test_a_chat_of_an_old_release_is_a_list():
    old = read_sample(SAMPLE)[1]
    assert (old.owner, old.title, old.model_used) == ("u2", "An old chat", "llama2")
    assert [each.content for each in old.messages] == ["Hello.", "Hello to you."]
    assert (old.parents, old.pinned, old.archived_at) == ((), False, None)


def test_a_chat_without_messages_is_read():
    assert read_sample(SAMPLE)[2].messages == ()


def test_other_details_are_parts():
    folded = (
        '<details type="code_interpreter" done="true" output="&quot;4&quot;">\n'
        "<summary>Analyzed</summary>\n```python\n2 + 2\n```\n</details>\nIt is four."
    )
    (draft,) = answer(folded)
    assert draft.content == "It is four."
    assert draft.parts[0] == {
        "type": "code_interpreter",
        "done": "true",
        "output": '"4"',
        "title": "Analyzed",
        "body": "```python\n2 + 2\n```",
    }


def test_html_of_a_user_is_text():
    text = '<details type="reasoning">Mine</details>'
    (chat,) = read("openwebui", [chat_of(said("q", content=text))])
    assert chat.messages[0].content == text


def test_a_call_without_a_name_and_broken_arguments_are_kept():
    (draft,) = answer('<details type="tool_calls"><summary>Tool</summary>"18 C"</details>Warm.')
    assert draft.parts[0] == {"type": "tool_calls", "title": "Tool", "body": '"18 C"'}
    (call,) = answer('<details type="tool_calls" name="f" arguments="{not json"></details>Done.')
    assert call.tool_calls[0]["function"] == {"name": "f", "arguments": "{not json"}


def test_large_values_of_a_chat_are_kept_with_the_first_message():
    files = [{"text": "x" * 5_000}]
    (chat,) = read("openwebui", [chat_of(said("q"), meta={"notes": files})])
    assert "meta" not in chat.metadata
    assert chat.messages[0].extra["conversation"] == {"meta": {"notes": files}}


def test_tags_that_cannot_be_stored_stay_in_the_metadata():
    tags = ["a", "b" * 51, " ", 5, *(f"t{i}" for i in range(30))]
    (chat,) = read("openwebui", [chat_of(meta={"tags": tags})])
    assert chat.tags == ["a", *(f"t{i}" for i in range(19))]
    assert chat.metadata["meta"] == {"tags": tags}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "Not an object."),
        ({"id": "c"}, "chat: Missing."),
        ({"id": "c", "chat": {"history": 5}}, "chat.history: Not an object."),
        ({"id": "c", "chat": {"history": {"messages": [1]}}}, "chat.history.messages: Not an"),
        (chat_of(said("a", role=None)), "chat.history.messages.a.role: Missing."),
        (
            chat_of(said("a", "gone")),
            "chat.history.messages.a.parentId: No message has this id.",
        ),
        (
            chat_of(said("a", "b"), said("b", "a")),
            "Some of the messages have no first one before them.",
        ),
        (
            chat_of(said("a", timestamp="now")),
            "chat.history.messages.a.timestamp: Not a time in seconds since 1970.",
        ),
        (
            chat_of(said("a", timestamp=1e300)),
            "chat.history.messages.a.timestamp: Not a time in seconds since 1970.",
        ),
        (
            chat_of(said("a", role="assistant", output=[{"type": "function_call", "name": "f"}])),
            "chat.history.messages.a.output.0.call_id: Missing.",
        ),
        (chat_of(created_at=10**400), "created_at: Not a time in seconds since 1970."),
    ],
)
def test_a_chat_that_is_none_says_why_and_loses_no_other(value, expected):
    first, rejected, last = read("openwebui", [chat_of(said("q")), value, chat_of(said("q"))])
    assert isinstance(first, Chat)
    assert isinstance(last, Chat)
    assert (rejected.line, rejected.reason[: len(expected)]) == (2, expected)


def test_a_time_before_1970_is_read():
    (chat,) = read("openwebui", [chat_of(said("q", timestamp=-5))])
    assert chat.messages[0].created_at == datetime(1969, 12, 31, 23, 59, 55, tzinfo=UTC)


def test_the_format_is_recognised():
    assert all(map(looks_like_openwebui, sample(SAMPLE)))
    assert not looks_like_openwebui({"chat": "text"})


def test_details_without_an_end_are_text_and_are_looked_at_once():
    text = '<details type="reasoning">' * 100_000
    for content in (text, '<details type="' * 100_000 + "</details>"):
        assert [(each.content, each.parts) for each in answer(content)] == [(content, None)]


def test_a_chat_without_an_id_has_a_key_with_the_cost_of_its_answers():
    def key_of(cost):
        values = chat_of(said("a", role="assistant", usage={"cost": cost})) | {"id": None}
        (chat,) = read("openwebui", [values])
        return chat.key

    assert key_of(0.25) == key_of(0.25)
    assert key_of(0.25) != key_of(0.5)
