import uuid
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.utils import timezone

from conversations.models import AccessRecord, Conversation, Message
from conversations.services import (
    SCRIPT,
    InvalidValue,
    KeyReused,
    MessageDraft,
    NotFound,
    OnLegalHold,
    StaleSequence,
    add_message,
    add_messages,
    delete_message,
    get_chat_history,
    update_message,
)
from conversations.services.appending import append_drafts
from conversations.tests.factories import access_of, fill, make_conversation, make_staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def chat(alice):
    return make_conversation(alice)


def say(chat, content="hello", **fields):
    return add_message(conversation_id=chat.pk, **{"role": "user", "content": content} | fields)


def test_messages_get_the_sequences_1_2_3(chat):
    assert [say(chat).sequence for _ in range(3)] == [1, 2, 3]
    chat.refresh_from_db()
    assert (chat.message_count, chat.last_sequence) == (3, 3)


def test_an_append_moves_the_conversation_up(chat):
    before = chat.updated_at
    say(chat)
    chat.refresh_from_db()
    assert chat.updated_at > before


def test_the_first_user_message_gives_the_title(chat):
    say(chat, "You are terse.", role="system")
    say(chat, "  How do I\nbake bread?  ")
    say(chat, "And cake?")
    chat.refresh_from_db()
    assert chat.title == "How do I bake bread?"


def test_a_title_that_somebody_set_stays(alice):
    chat = make_conversation(alice, title="Mine")
    say(chat)
    chat.refresh_from_db()
    assert chat.title == "Mine"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("word " * 40, "word " * 15 + "word…"),
        ("x" * 200, "x" * 79 + "…"),
        ("你" * 200, "你" * 79 + "…"),
    ],
)
def test_a_long_first_message_is_cut_for_the_title(chat, text, title):
    say(chat, text)
    chat.refresh_from_db()
    assert chat.title == title


@pytest.mark.parametrize("role", ["user", "assistant", "system", "developer", "tool"])
def test_text_is_stored_exactly_as_it_is_sent(chat, role):
    assert say(chat, " \n hi\r\n\u2028 ", role=role).content == " \n hi\r\n\u2028 "


def test_a_blank_text_of_a_user_needs_parts(chat):
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    assert say(chat, " ", parts=[image]).content == " "


def test_the_length_is_limited_for_people_and_not_for_scripts_and_trusted_clients(
    chat, trusted, settings
):
    settings.CHAT_MAX_MESSAGE_CHARS = 10
    with pytest.raises(InvalidValue) as caught:
        say(chat, "x" * 11, access=access_of(chat.user))
    assert (caught.value.field, caught.value.code) == ("content", "max_length")
    assert say(chat, "x" * 11, role="assistant", access=access_of(chat.user)).sequence == 1
    assert say(chat, "x" * 11, access=access_of(trusted, trusted=True)).sequence == 2
    assert say(chat, "x" * 11).sequence == 3


def test_a_person_sets_no_times(chat):
    with pytest.raises(InvalidValue) as caught:
        say(chat, created_at=datetime(2020, 1, 1, tzinfo=UTC), access=access_of(chat.user))
    assert (caught.value.field, caught.value.code) == ("created_at", "read_only")


def test_a_time_is_kept_and_the_order_is_that_of_the_appends(chat, trusted):
    access = access_of(trusted, trusted=True)
    say(chat, "now", access=access)
    chat.refresh_from_db()
    moved = chat.updated_at
    late = say(chat, "late", created_at=datetime(2020, 1, 1, tzinfo=UTC), access=access)
    assert late.created_at == datetime(2020, 1, 1, tzinfo=UTC)
    assert [m.content for m in get_chat_history(conversation_id=chat.pk)] == ["now", "late"]
    chat.refresh_from_db()
    assert chat.updated_at == moved


@pytest.mark.parametrize(("hours", "refused"), [(23, False), (25, True)])
def test_a_time_more_than_a_day_ahead_is_refused(chat, hours, refused):
    ahead = timezone.now() + timedelta(hours=hours)
    if not refused:
        assert say(chat, created_at=ahead).created_at == ahead
        return
    with pytest.raises(InvalidValue) as caught:
        say(chat, created_at=ahead)
    assert (caught.value.field, caught.value.code) == ("created_at", "in_the_future")


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"role": "User"}, "role", "invalid_choice"),
        ({"content": " \n "}, "content", "blank"),
        ({"content": "", "role": "assistant"}, "content", "blank"),
        ({"content": "", "role": "assistant", "tool_calls": []}, "content", "blank"),
        ({"content": "a\x00b"}, "content", "null_characters_not_allowed"),
        ({"content": "a\ud800"}, "content", "surrogate_characters_not_allowed"),
        ({"name": "n" * 256}, "name", "max_length"),
        ({"metadata": {"a": [float("nan")]}}, "metadata.a.0", "not_finite"),
        ({"metadata": {"a": 2**64}}, "metadata.a", "too_big"),
        ({"metadata": {"a": "x" * 70_000}}, "metadata", "too_large"),
        ({"metadata": {"a\x00": 1}}, "metadata (a key)", "null_characters_not_allowed"),
        ({"tool_calls": {}}, "tool_calls", "not_a_list"),
        ({"tool_calls": [{"f": "\x00"}]}, "tool_calls.0.f", "null_characters_not_allowed"),
        ({"tool_calls": [{}, "x"]}, "tool_calls.1", "not_an_object"),
        ({"tool_calls": [None]}, "tool_calls.0", "not_an_object"),
        ({"tool_calls": [{"id": "a", "function": "f"}]}, "tool_calls.0.function", "not_an_object"),
        ({"prompt_tokens": -1}, "prompt_tokens", "invalid"),
        ({"status": "streaming"}, "status", "not_an_answer"),
    ],
)
def test_bad_input_names_the_field_and_stores_nothing(chat, fields, field, code):
    with pytest.raises(InvalidValue) as caught:
        say(chat, **fields)
    assert (caught.value.field, caught.value.code) == (field, code)
    chat.refresh_from_db()
    assert (chat.last_sequence, Message.objects.count()) == (0, 0)


@pytest.mark.parametrize(
    "call",
    [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}},
        {"id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}},
        {"type": "tool_use", "name": "f", "input": {}},
        {},
    ],
)
def test_tool_calls_are_objects_of_any_kind(chat, call):
    assert say(chat, role="assistant", tool_calls=[call]).tool_calls == [call]


def test_in_a_batch_the_call_at_fault_is_named(chat):
    with pytest.raises(InvalidValue) as caught:
        add_messages(
            conversation_id=chat.pk,
            messages=[
                MessageDraft(role="user", content="Hi"),
                MessageDraft(role="assistant", tool_calls=["x"]),
            ],
        )
    assert caught.value.field == "messages.1.tool_calls.0"


def test_json_may_nest_to_the_bound_and_no_deeper(chat, settings):
    settings.CHAT_MAX_JSON_DEPTH = 3
    assert say(chat, metadata={"a": {"b": {"c": 1}}}).metadata == {"a": {"b": {"c": 1}}}
    with pytest.raises(InvalidValue, match="deeper than 3 levels"):
        say(chat, metadata={"a": {"b": {"c": {"d": 1}}}})


def test_a_batch_is_stored_whole_or_not_at_all(chat):
    drafts = [MessageDraft(role="user", content="one"), MessageDraft(role="user", content=" ")]
    with pytest.raises(InvalidValue) as caught:
        add_messages(conversation_id=chat.pk, messages=drafts)
    assert caught.value.field == "messages.1.content"
    assert Message.objects.count() == 0


@pytest.mark.parametrize("identity", [{"key": "k"}, {"id": uuid.uuid4()}])
def test_the_same_append_again_gives_what_is_stored(chat, identity):
    first = say(chat, **identity)
    again = say(chat, **identity)
    assert again == first
    assert Message.objects.count() == 1
    chat.refresh_from_db()
    assert chat.message_count == 1


@pytest.mark.parametrize("identity", [{"key": "k"}, {"id": uuid.uuid4()}])
def test_another_message_under_the_same_identity_is_refused(chat, identity):
    say(chat, "one", **identity)
    with pytest.raises(KeyReused):
        say(chat, "two", **identity)


def test_a_repeat_is_recognised_after_the_message_was_rated(chat):
    first = say(chat, key="k", metadata={"a": 1})
    update_message(
        conversation_id=chat.pk,
        message_id=first.id,
        changes={"rating": 1, "metadata": {}},
        access=SCRIPT,
    )
    assert say(chat, key="k", metadata={"a": 1}).rating == 1


def test_a_repeat_is_recognised_whatever_the_size_of_its_numbers(chat):
    given = {"key": "k", "metadata": {"a": 1e23, "b": [2**63, 1.5]}, "tool_calls": [{"x": 1e22}]}
    assert say(chat, **given) == say(chat, **given)


def test_a_key_stands_for_the_whole_batch(chat):
    def send(*contents):
        drafts = [MessageDraft(role="user", content=text) for text in contents]
        return append_drafts(conversation_id=chat.pk, drafts=drafts, key="k", access=SCRIPT)

    assert send("a", "b")[1]
    assert not send("a", "b")[1]
    for other in (("a",), ("a", "b", "c"), ("a", "x")):
        with pytest.raises(KeyReused):
            send(*other)
    assert Message.objects.count() == 2


def test_the_same_key_in_another_conversation_is_another_message(alice):
    one, two = make_conversation(alice), make_conversation(alice)
    assert say(one, key="k").id != say(two, key="k").id


def test_a_stale_client_is_refused_and_its_repeat_is_not(chat):
    say(chat, "first", expected_last_sequence=0, key="a")
    with pytest.raises(StaleSequence) as caught:
        say(chat, "second", expected_last_sequence=0, key="b")
    assert caught.value.actual == 1
    assert say(chat, "first", expected_last_sequence=0, key="a").sequence == 1


def test_nobody_writes_to_a_strangers_conversation(chat, bob, staff, trusted):
    with pytest.raises(NotFound):
        say(chat, access=access_of(bob))
    with pytest.raises(Exception, match="not change it"):
        say(chat, access=access_of(staff, reader=True))
    assert say(chat, access=access_of(trusted, trusted=True)).sequence == 1


def test_history_is_in_order_and_can_be_the_latest_few(chat):
    fill(chat, 7)
    assert [m.sequence for m in get_chat_history(conversation_id=chat.pk)] == list(range(1, 8))
    assert [m.sequence for m in get_chat_history(conversation_id=chat.pk, limit=2)] == [6, 7]
    with pytest.raises(NotFound):
        get_chat_history(conversation_id=uuid.uuid4())


def test_a_deleted_message_leaves_a_gap_and_its_sequence_is_not_given_again(chat):
    fill(chat, 3)
    last = get_chat_history(conversation_id=chat.pk)[-1]
    delete_message(conversation_id=chat.pk, message_id=last.id, access=SCRIPT)
    assert say(chat).sequence == 4
    assert Conversation.objects.get(pk=chat.pk).message_count == 3


def test_legal_hold_keeps_every_message(chat):
    message = say(chat)
    Conversation.objects.filter(pk=chat.pk).update(legal_hold=True)
    with pytest.raises(OnLegalHold):
        delete_message(conversation_id=chat.pk, message_id=message.id, access=SCRIPT)
    assert say(chat).sequence == 2


@pytest.mark.parametrize("length", [10, 5_000])
def test_an_append_costs_one_statement_however_long_the_conversation(chat, statements, length):
    fill(chat, length)
    owner = access_of(chat.user)
    with statements() as seen:
        say(chat, access=owner)
    assert len(seen) == 1


@pytest.mark.parametrize("expected", [None, 7])
def test_what_a_repeated_or_refused_append_tells_staff_is_on_record(chat, expected):
    told = say(chat, id=uuid.uuid4(), metadata={"pin": 1})
    update_message(
        conversation_id=chat.pk, message_id=told.id, changes={"rating": 1}, access=SCRIPT
    )
    root = access_of(make_staff(), reader=True, writer=True)
    repeat = partial(say, chat, id=told.id if expected is None else uuid.uuid4(), access=root)
    if expected is None:
        assert repeat().metadata == {"pin": 1}
    else:
        with pytest.raises(StaleSequence):
            repeat(expected_last_sequence=expected)
    record = AccessRecord.objects.get()
    assert (record.action, record.conversation_id) == ("change", chat.pk)
