import io
import json

import pytest

from conversations.formats import READERS, MessageDraft

TWO = [{"from": "human", "value": "Name a sea."}, {"from": "gpt", "value": "The North Sea."}]


def read(*values):
    text = "\n".join(json.dumps(value) for value in values)
    return list(READERS["sharegpt"](io.BytesIO(text.encode())))


def messages(*items, **fields):
    (chat,) = read({"conversations": list(items)} | fields)
    return chat.messages


def test_a_conversation_is_read_with_its_fields():
    (chat,) = read({"id": "sea_0", "conversations": TWO, "tools": "[]", "lang": "en", "n": None})
    assert (chat.line, chat.file_id) == (1, "sea_0")
    assert chat.metadata == {"tools": "[]", "lang": "en"}
    assert chat.messages == (
        MessageDraft(role="user", content="Name a sea."),
        MessageDraft(role="assistant", content="The North Sea."),
    )


def test_senders_have_roles_and_unusual_names_are_kept():
    names = ["system", "human", "user", "chatgpt", "bard", "assistant"]
    found = messages(*({"from": name, "value": name} for name in names))
    assert [each.role for each in found] == [
        *("system", "user", "user", "assistant", "assistant", "assistant")
    ]
    assert [each.extra for each in found] == [
        *(None, None, None, {"from": "chatgpt"}, {"from": "bard"}, None)
    ]


def test_roles_and_contents_are_read_too():
    assert messages({"role": "user", "content": "Hi", "weight": 0}) == (
        MessageDraft(role="user", content="Hi", extra={"weight": 0}),
    )


def test_a_system_prompt_beside_the_messages_is_the_first():
    first, *_ = messages(*TWO, system="Be brief.")
    assert (first.role, first.content) == ("system", "Be brief.")


def test_tool_calls_are_linked_to_their_results():
    call = '{"name": "tide", "arguments": {"sea": "North"}}'
    asked, called, result, answer = messages(
        TWO[0],
        {"from": "function_call", "value": call},
        {"from": "observation", "value": '{"high": "14:05"}'},
        {"from": "gpt", "value": "At 14:05."},
    )
    assert called.tool_calls == [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "tide", "arguments": '{"sea": "North"}'},
        }
    ]
    assert (called.content, called.extra) == ("", {"from": "function_call", "value": call})
    assert (result.role, result.tool_call_id, result.content) == (
        *("tool", "call_1", '{"high": "14:05"}'),
    )
    assert (asked.tool_calls, answer.tool_calls) == (None, None)


def test_several_calls_are_answered_in_order():
    calls = json.dumps([{"name": "a", "arguments": "{}"}, {"name": "b"}])
    called, one, two, three = messages(
        {"from": "function_call", "value": calls}, *[{"from": "tool", "value": "1"}] * 3
    )
    ids = [call["id"] for call in called.tool_calls]
    assert ids == ["call_0_0", "call_0_1"]
    assert [one.tool_call_id, two.tool_call_id, three.tool_call_id] == [*ids, None]


@pytest.mark.parametrize("value", ["tide()", '{"tool": 1}', "[1]", "[" * 5000])
def test_a_call_in_another_form_is_text(value):
    (called,) = messages({"from": "function_call", "value": value})
    assert (called.content, called.tool_calls) == (value, None)


def test_an_empty_message_is_kept():
    _, empty = messages(TWO[0], {"from": "gpt", "value": ""})
    assert (empty.content, empty.parts) == ("", [{"type": "text", "text": ""}])


@pytest.mark.parametrize(
    ("conversation", "reason"),
    [
        (None, "conversations: Missing."),
        ({}, "conversations: Not a list."),
        ([], "conversations: The list of messages is empty."),
        (["Hi"], "conversations.0: Not an object."),
        ([{"value": "Hi"}], "conversations.0.from: Missing."),
        ([{"from": "cat", "value": "Hi"}], "conversations.0.from: None of `human`, `user`, `gpt`"),
        ([{"from": "gpt"}], "conversations.0.value: Missing."),
        ([{"from": "gpt", "value": 1}], "conversations.0.value: Not a string."),
    ],
)
def test_a_conversation_that_is_none_says_why_and_costs_no_other(conversation, reason):
    rejected, chat = read({"conversations": conversation}, {"conversations": TWO})
    assert (rejected.line, rejected.reason[: len(reason)]) == (1, reason)
    assert chat.line == 2


def test_an_id_may_be_repeated_here():
    """The import says that the conversation is stored already, or differs."""
    assert [chat.file_id for chat in read(*[{"id": 7, "conversations": TWO}] * 2)] == ["7", "7"]
