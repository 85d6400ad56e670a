"""The history that the model is shown."""

import pytest
from agents.models.chatcmpl_converter import Converter
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from conversations.chat.llm.context_window import history_before
from conversations.models import Message
from conversations.services import SCRIPT, MessageDraft, append_drafts, delete_message
from conversations.tests.cluster import analyze, plans_of
from conversations.tests.factories import fill, make_conversation, make_user

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
        [{"id": "c1", "type": "custom", "custom": "f"}],
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


def test_a_custom_tool_is_shown_as_a_function_with_a_text(conversation):
    custom = {"id": "c1", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    said(
        conversation,
        MessageDraft(role="user", content="Do it"),
        MessageDraft(role="assistant", tool_calls=[custom]),
        MessageDraft(role="tool", content="a b", tool_call_id="c1"),
    )
    called = history(conversation)[1]
    assert (called["name"], called["arguments"]) == ("shell", '{"input":"ls"}')


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


# On branches


def place_of(message_id):
    return Message.objects.values_list("branch", "sequence").get(id=message_id)


def shown_up_to(conversation, message_id, **options):
    """The texts that the model is shown before an answer to this message."""
    branch, sequence = place_of(message_id)
    where = conversation.user_id, conversation.pk
    items = history_before(*where, branch=branch, last_sequence=sequence, **options)
    return [item["content"] for item in items]


def grow(conversation, parents):
    """A tree of the user's messages, each named by its number; their ids."""
    ids = []
    for number, parent in enumerate(parents):
        draft = MessageDraft(role="user", content=str(number))
        follows = "root" if parent is None else ids[parent]
        rows, _ = append_drafts(
            conversation_id=conversation.pk, drafts=[draft], parents=[follows], access=SCRIPT
        )
        ids.append(rows[0]["id"])
    return ids


def line_to(parents, number):
    """The numbers from the beginning on to a message."""
    before = parents[number]
    return [*([] if before is None else line_to(parents, before)), number]


@st.composite
def trees(draw):
    """What each message follows: one of those before it, or nothing."""
    size = draw(st.integers(1, 15))
    return [draw(st.sampled_from([None, *range(number)])) for number in range(size)]


@given(parents=trees(), gone=st.integers(0, 20), window=st.integers(1, 6))
@hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_of_any_tree_the_path_of_the_question_alone(alice, settings, parents, gone, window):
    conversation = make_conversation(alice)
    ids = grow(conversation, parents)
    if gone < len(ids):
        delete_message(conversation_id=conversation.pk, message_id=ids[gone], access=SCRIPT)
    for number in set(range(len(ids))) - {gone}:
        line = [str(each) for each in line_to(parents, number) if each != gone]
        settings.CHAT_CONTEXT_MESSAGES = 100
        assert shown_up_to(conversation, ids[number]) == line
        settings.CHAT_CONTEXT_MESSAGES = window
        assert shown_up_to(conversation, ids[number]) == line[-window:]


@pytest.fixture
def nested(conversation):
    """Forty branches, each of which begins in the middle of the one before; the last message."""
    fill(conversation, 20)
    fork = Message.objects.of(conversation.user_id, conversation.pk).get(sequence=10).id
    for level in range(40):
        drafts = [MessageDraft(role="user", content=f"{level} {at}") for at in range(6)]
        rows, _ = append_drafts(
            conversation_id=conversation.pk,
            drafts=drafts,
            parents=[fork, *[None] * 5],
            access=SCRIPT,
        )
        fork = rows[2]["id"]
    return rows[-1]["id"]


def test_deep_in_nested_branches_as_many_messages_are_shown(conversation, nested, settings):
    settings.CHAT_CONTEXT_MESSAGES = 10
    last = [f"39 {at}" for at in range(6)]
    assert shown_up_to(conversation, nested) == ["37 2", *[f"38 {at}" for at in range(3)], *last]
    settings.CHAT_CONTEXT_MESSAGES = 1_000
    assert len(shown_up_to(conversation, nested)) == 10 + 39 * 3 + 6


@pytest.mark.django_db
def test_and_no_more_rows_are_read_however_deep_they_are_nested(
    explains, conversation, nested, statements, settings
):
    settings.CHAT_CONTEXT_MESSAGES = 10
    make_conversation(make_user("another"), messages=5_000)  # a small table is read whole
    with statements() as seen:
        shown_up_to(conversation, nested)
    # The place of the message, which only this test reads; the path, the places, the messages.
    assert len(seen) == 4
    analyze("conversations_message")
    for statement, most in zip(seen[2:], (2 * 10, 10), strict=True):
        (plan,) = plans_of(statement, execute=True)
        scans = [node for node in nodes_of(plan["Plan"]) if "Relation Name" in node]
        assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
        assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= most


def nodes_of(node):
    yield node
    for below in node.get("Plans", ()):
        yield from nodes_of(below)


def test_the_first_line_costs_no_more_with_branches_beside_it(conversation, nested, statements):
    where = conversation.user_id, conversation.pk
    line = Message.objects.of(*where).filter(branch=0).order_by("-sequence").first()
    with statements() as seen:
        items = history_before(*where, branch=line.branch, last_sequence=line.sequence)
    assert [item["content"] for item in items] == [f"message {at}" for at in range(1, 21)]
    assert len(seen) == 1
