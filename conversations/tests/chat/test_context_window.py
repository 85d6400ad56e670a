"""The history that the model is shown."""

import pytest
from agents.models.chatcmpl_converter import Converter

from conversations.chat.llm.context_window import history_before
from conversations.models import Message
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.cluster import analyze, plans_of
from conversations.tests.factories import fill, make_conversation

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def said(conversation, *drafts):
    for draft in drafts:
        append_drafts(
            conversation_id=conversation.pk, drafts=[draft], from_client=False, access=SCRIPT
        )


def history(conversation, **options):
    place = conversation.user_id, conversation.pk
    return history_before(*place, last_sequence=2**31 - 1, **options)


@pytest.fixture
def conversation(alice):
    return make_conversation(alice)


def test_messages_in_order(conversation):
    fill(conversation, 3)
    assert history(conversation) == [
        {"role": "user", "content": "message 1"},
        {"role": "assistant", "content": "message 2"},
        {"role": "user", "content": "message 3"},
    ]


def test_only_the_latest_and_from_a_question_on(conversation, settings):
    settings.CHAT_CONTEXT_MESSAGES = 4
    fill(conversation, 9)
    shown = [item["content"] for item in history(conversation)]
    assert shown == ["message 7", "message 8", "message 9"]


def test_the_budget_keeps_the_latest_and_always_the_last(conversation):
    fill(conversation, 9)
    assert [item["content"] for item in history(conversation, tokens=20)] == [
        "message 7",
        "message 8",
        "message 9",
    ]
    assert len(history(conversation, tokens=1)) == 1


def test_calls_stay_with_their_results(conversation, settings):
    said(
        conversation,
        MessageDraft(role="user", content="Do it"),
        MessageDraft(role="assistant", tool_calls=[CALL]),
        MessageDraft(role="user", content="meanwhile"),
        MessageDraft(role="tool", content="done", tool_call_id="c1"),
        MessageDraft(role="assistant", content="It is done."),
        MessageDraft(role="user", content="Thanks"),
    )
    kinds = [item.get("type", item.get("role")) for item in history(conversation)]
    assert kinds == [
        "user",
        "function_call",
        "function_call_output",
        "user",
        "assistant",
        "user",
    ]
    # The window cuts between them: neither is shown.
    settings.CHAT_CONTEXT_MESSAGES = 4
    assert [item.get("content") for item in history(conversation)] == [
        "meanwhile",
        "It is done.",
        "Thanks",
    ]


def test_text_and_calls_of_one_message_are_sent_in_one(conversation):
    calls = [CALL, CALL | {"id": "c2"}]
    said(
        conversation,
        MessageDraft(role="user", content="Do it"),
        MessageDraft(role="assistant", content="I do.", tool_calls=calls),
        MessageDraft(role="tool", content="done", tool_call_id="c1"),
        MessageDraft(role="tool", content="done, too", tool_call_id="c2"),
    )
    _, answer, *results = Converter.items_to_messages(history(conversation))
    assert (answer["content"], answer["tool_calls"]) == ("I do.", calls)
    assert [(one["role"], one["content"]) for one in results] == [
        ("tool", "done"),
        ("tool", "done, too"),
    ]


def test_calls_without_results_and_answers_without_text_are_left_out(conversation):
    said(
        conversation,
        MessageDraft(role="user", content="Do it"),
        MessageDraft(role="assistant", content="I", tool_calls=[CALL], status="interrupted"),
        MessageDraft(role="user", content="And?"),
        MessageDraft(role="assistant", status="failed", error="no"),
        MessageDraft(role="user", content="Well?"),
    )
    assert [item["content"] for item in history(conversation)] == ["Do it", "I", "And?", "Well?"]


def outputs(items):
    """What answers each call, by the call's arguments."""
    answered = {one["call_id"]: one["output"] for one in items if "output" in one}
    calls = [one for one in items if one.get("type") == "function_call"]
    assert len({one["call_id"] for one in calls}) == len(calls)
    return {one["arguments"]: answered[one["call_id"]] for one in calls}


def test_calls_of_one_id_keep_their_own_results(conversation):
    first, second, third = (
        {"id": "c1", "function": {"name": "f", "arguments": text}} for text in "123"
    )
    said(
        conversation,
        MessageDraft(role="user", content="Do it"),
        MessageDraft(role="assistant", tool_calls=[first, second]),
        MessageDraft(role="tool", content="one", tool_call_id="c1"),
        MessageDraft(role="tool", content="two", tool_call_id="c1"),
        MessageDraft(role="assistant", tool_calls=[third]),
        MessageDraft(role="tool", content="three", tool_call_id="c1"),
        MessageDraft(role="user", content="Thanks"),
    )
    assert outputs(history(conversation)) == {"1": "one", "2": "two", "3": "three"}


@pytest.mark.parametrize(
    "calls",
    [
        ["x", None, 7, []],
        [{"id": "c1", "function": "f"}, {"function": {"name": "f"}}, {"id": ["c1"]}],
        [{"id": "c1", "type": "custom", "custom": {"name": "f", "input": ""}}],
    ],
)
def test_calls_of_other_shapes_in_older_rows_are_left_out(conversation, calls):
    said(
        conversation,
        MessageDraft(role="user", content="Do it"),
        MessageDraft(role="assistant", content="I do.", tool_calls=[CALL]),
        MessageDraft(role="tool", content="done", tool_call_id="c1"),
    )
    Message.objects.filter(role="assistant").update(tool_calls=calls)
    assert [item["content"] for item in history(conversation)] == ["Do it", "I do."]


def test_arguments_may_be_an_object(conversation):
    call = {"id": "c1", "function": {"name": "f", "arguments": {"city": "Zürich"}}}
    said(
        conversation,
        MessageDraft(role="assistant", tool_calls=[call]),
        MessageDraft(role="tool", content="done", tool_call_id="c1"),
    )
    assert outputs(history(conversation)) == {'{"city": "Zürich"}': "done"}


@pytest.mark.django_db
def test_it_costs_the_same_however_long_the_conversation_is(
    explains, conversation, statements, settings
):
    settings.CHAT_CONTEXT_MESSAGES = 10
    fill(conversation, 3_000)
    with statements() as seen:
        history(conversation)
    assert len(seen) == 1
    analyze("conversations_message")
    newest = (
        Message.objects.of(conversation.user_id, conversation.pk)
        .filter(sequence__lte=3_000)
        .order_by("-sequence")[:10]
    )
    (plan,) = plans_of(*newest.query.sql_with_params(), execute=True)
    (scan,) = plan["Plan"]["Plans"]
    assert scan["Index Name"].startswith("message_sequence_unique")
    assert scan["Actual Rows"] == 10
