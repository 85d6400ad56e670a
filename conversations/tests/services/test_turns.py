"""The stored side of a turn, without a model."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from conversations.chat import liveness
from conversations.models import Conversation, Message, Status
from conversations.services import (
    SCRIPT,
    Conflict,
    InvalidValue,
    NotFound,
    TurnRunning,
    update_message,
)
from conversations.services.turn_log import find_turn, question_before
from conversations.services.turns import (
    Ending,
    Progress,
    Question,
    begin_turn,
    finish_turn,
    interrupt_abandoned,
    open_step,
    record_tool_calls,
    record_tool_result,
    request_stop,
    save_progress,
)
from conversations.tests.factories import access_of, make_conversation, make_user

CALLS = [
    {"id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for i in range(2)
]


def question(user, **changes):
    given = {"owner": user, "content": "Hi", "provider": "p"}
    return Question(**{"model": "m", **given, **changes})


def begin(user, **changes):
    return begin_turn(question(user, **changes)).turn


def answer_of(turn):
    return Message.objects.get(id=turn.id)


def save(turn, content):
    return save_progress([Progress(turn.conversation_id, turn.id, content)])


def test_the_question_and_an_empty_answer_are_stored_together(alice, statements):
    chat = make_conversation(alice)
    with statements() as seen:
        turn = begin(alice, conversation_id=chat.pk)
    # Is a turn running there, is it abandoned; the place; the two messages.
    assert len(seen) == 3
    asked, answer = Message.objects.order_by("sequence")
    assert (asked.content, asked.id) == ("Hi", turn.user_message_id)
    assert (answer.id, answer.content, answer.status) == (turn.id, "", Status.STREAMING)


def test_what_is_no_question_leaves_nothing(alice, bob):
    for content in ("", "  ", "x" * 10_001, "\x00"):
        with pytest.raises(InvalidValue) as refused:
            begin(alice, content=content)
        assert refused.value.field == "message"
    with pytest.raises(NotFound):
        begin(alice, conversation_id=make_conversation(bob).pk)
    with pytest.raises(NotFound):
        begin(alice, conversation_id=uuid.uuid4())
    assert not Message.objects.exists()


def test_only_one_turn_at_a_time(alice):
    turn = begin(alice)
    with pytest.raises(TurnRunning):
        begin(alice, conversation_id=turn.conversation_id)
    finish_turn(turn=turn, step=1, ending=Ending("complete", content="Hello"))
    assert begin(alice, conversation_id=turn.conversation_id)


@pytest.mark.django_db(transaction=True)
def test_of_many_at_the_same_moment_one_begins():
    alice = make_user("alice")
    chat, gate = make_conversation(alice), threading.Barrier(8)

    def race(number):
        gate.wait()
        try:
            return begin(alice, conversation_id=chat.pk).id
        except TurnRunning:
            return None
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert len([won for won in pool.map(race, range(8)) if won]) == 1
    assert Message.objects.count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("existing", [True, False])
def test_of_equal_requests_at_the_same_moment_one_begins(existing):
    alice = make_user("alice")
    chat = make_conversation(alice).pk if existing else None
    gate = threading.Barrier(8)

    def race(number):
        gate.wait()
        try:
            return begin_turn(question(alice, conversation_id=chat, key="k"))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(race, range(8)))
    assert sorted(one.created for one in begun) == [False] * 7 + [True]
    assert len({one.turn for one in begun}) == 1
    assert Message.objects.count() == 2


def test_a_key_stands_for_one_question(alice, bob):
    first = begin_turn(question(alice, key="k"))
    again = begin_turn(question(alice, key="k", content=" Hi "))
    assert (again.turn, again.created) == (first.turn, False)
    with pytest.raises(Conflict):
        begin(alice, key="k", content="Ho")
    assert begin(bob, key="k").conversation_id != first.turn.conversation_id
    assert Conversation.objects.count() == 2


def test_text_only_grows(alice):
    turn = begin(alice)
    assert save(turn, "abc") == {turn.id: False}
    save(turn, "ab")
    save(turn, None)
    assert answer_of(turn).content == "abc"
    request_stop(conversation_id=turn.conversation_id, message_id=turn.id)
    assert save(turn, "abcd") == {turn.id: True}
    assert finish_turn(turn=turn, step=1, ending=Ending("stopped", "stopped", content="abcd"))
    assert save(turn, "abcde") == {}
    assert not request_stop(conversation_id=turn.conversation_id, message_id=turn.id)
    assert not finish_turn(turn=turn, step=1, ending=Ending("complete", content="x"))
    assert (answer_of(turn).content, answer_of(turn).metadata) == ("abcd", {})


def test_steps_are_messages_in_order_and_found_by_any_of_them(alice):
    turn = begin(alice, runner="r")
    Message.objects.filter(id=turn.id).update(sources=[1], detected_mode="m")
    record_tool_calls(turn=turn, step=1, content="See:", tool_calls=CALLS)
    for call in (1, 0):
        record_tool_result(
            turn=turn, step=1, call=call, tool_call_id=f"c{call}", name="f", content=str(call)
        )
    open_step(turn=turn, step=2, before=Ending("complete", "tool_calls", content="See:"))
    assert Message.objects.filter(status=Status.STREAMING).count() == 1
    finish_turn(turn=turn, step=2, ending=Ending("complete", "stop", content="Two."))
    rows = list(Message.objects.order_by("sequence"))
    assert [row.role for row in rows] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [row.sequence for row in rows] == [1, 2, 3, 4, 5]
    assert [row.content for row in rows[1:]] == ["See:", "1", "0", "Two."]
    assert (rows[1].sources, rows[4].sources, rows[4].detected_mode) == (None, [1], "m")
    assert all(row.metadata == {} for row in rows)
    for row in (rows[1], rows[4]):
        found = find_turn(message_id=row.id, access=access_of(alice))
        assert found.id == turn.id
        assert [len(step.results) for step in found.steps] == [2, 0]
        assert question_before(found) == rows[0].id
    assert find_turn(message_id=rows[2].id, access=access_of(alice)) is None


def test_an_answer_is_abandoned_by_age_or_death_and_keeps_its_text(alice):
    turn = begin(alice, runner="r")
    save(turn, "so far")
    where = {"conversation_id": turn.conversation_id}
    assert not interrupt_abandoned(**where, is_dead=lambda runner: False)
    assert interrupt_abandoned(**where, is_dead=lambda runner: runner == "r")
    stored = answer_of(turn)
    assert (stored.status, stored.content, stored.metadata) == ("interrupted", "so far", {})
    assert save(turn, "so far and on") == {}

    later = begin(alice, conversation_id=turn.conversation_id)
    old = timezone.now() - timedelta(seconds=31)
    Message.objects.filter(id=later.id).update(updated_at=old)
    assert begin(alice, conversation_id=turn.conversation_id)
    assert answer_of(later).status == "interrupted"


def test_metadata_that_a_client_changed_does_no_harm(alice):
    turn = begin(alice, runner="r")
    where = {"conversation_id": turn.conversation_id}
    update_message(
        **where, message_id=turn.id, changes={"metadata": {"runner": ["../x"]}}, access=SCRIPT
    )
    assert not interrupt_abandoned(**where, is_dead=liveness.is_dead)


def test_a_process_is_known_to_be_alive_until_it_ends(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    name = liveness.announce()
    assert not liveness.is_dead(name)
    assert not liveness.is_dead("unknown")
    assert not liveness.is_dead("")
    (tmp_path / "runners" / "deceased").touch()
    assert liveness.is_dead("deceased")
