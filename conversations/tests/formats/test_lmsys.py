import io
import json

import pytest

from conversations.formats import READERS

ASKED = {"role": "user", "content": "Name a star."}
ANSWERED = {"role": "assistant", "content": "Vega."}


def read(**fields):
    value = {"conversation_id": "c1", "model": "vicuna-13b", "conversation": [ASKED, ANSWERED]}
    return next(READERS["lmsys"](io.BytesIO(json.dumps(value | fields).encode())))


def test_a_conversation_is_read_with_its_fields():
    chat = read(turn=1, language="English", redacted=False, openai_moderation=[{"a": 1}, {"a": 2}])
    assert (chat.file_id, chat.model_used, chat.owner) == ("c1", "vicuna-13b", None)
    assert chat.metadata == {"turn": 1, "language": "English", "redacted": False}
    asked, answered = chat.messages
    assert (asked.model, answered.model) == ("", "vicuna-13b")
    assert (asked.extra, answered.extra) == (
        *({"openai_moderation": {"a": 1}}, {"openai_moderation": {"a": 2}}),
    )


def test_a_list_that_is_not_of_each_message_is_metadata():
    assert read(openai_moderation=[{}]).metadata == {"openai_moderation": [{}]}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"conversation": []}, "conversation: The list of messages is empty."),
        ({"conversation": None}, "conversation: Missing."),
        ({"conversation": [{"role": 1, "content": "x"}]}, "conversation.0.role: Not a string."),
        ({"model": 1}, "model: Not a string."),
        ({"conversation_id": True}, "conversation_id: Must be a non-empty string or an integer."),
    ],
)
def test_a_conversation_that_is_none_says_why(fields, reason):
    assert read(**fields).reason == reason
