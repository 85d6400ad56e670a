import io
import json

import pytest

from conversations.formats import READERS, MessageDraft


def read(*values):
    text = "\n".join(json.dumps(value) for value in values)
    return list(READERS["ultrachat"](io.BytesIO(text.encode())))


def test_the_raw_form_is_read():
    (chat,) = read({"id": "9", "data": ["Name a lake.", "Lake Constance.", "And?"], "source": "x"})
    assert (chat.file_id, chat.metadata) == ("9", {"source": "x"})
    assert chat.messages == (
        MessageDraft(role="user", content="Name a lake."),
        MessageDraft(role="assistant", content="Lake Constance."),
        MessageDraft(role="user", content="And?"),
    )


def test_the_filtered_form_is_read():
    messages = [
        {"role": "user", "content": "Name a lake."},
        {"role": "assistant", "content": "", "score": 1},
    ]
    given = {"prompt": "Name a lake.", "prompt_id": "ab", "messages": messages}
    same, other = read(given, given | {"prompt": "Something else"})
    assert (same.file_id, same.metadata) == ("ab", {})
    assert other.metadata == {"prompt": "Something else"}
    assert [each.role for each in same.messages] == ["user", "assistant"]
    assert (same.messages[1].extra, same.messages[1].parts) == (
        *({"score": 1}, [{"type": "text", "text": ""}]),
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"id": "1", "data": []}, "data: The list of messages is empty."),
        ({"id": "1", "data": ["a", 2]}, "data.1: Not a string."),
        ({"prompt_id": "p", "messages": []}, "messages: The list of messages is empty."),
        ({"prompt_id": "p", "messages": [{"content": "x"}]}, "messages.0.role: Missing."),
        ({"prompt_id": "p"}, "messages: Missing."),
    ],
)
def test_a_conversation_that_is_none_says_why(value, reason):
    (rejected,) = read(value)
    assert rejected.reason == reason
