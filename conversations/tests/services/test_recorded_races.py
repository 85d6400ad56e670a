"""Model calls of one chat at the same moment: several models, two tabs, requests sent twice."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from conversations.models import Branch, Conversation, Message, Status
from conversations.models.turn import ToolCall
from conversations.services import MessageDraft, TurnRunning, append_drafts
from conversations.services.abandoned_turns import interrupt_abandoned
from conversations.services.begin_turn import begin_again, begin_turn
from conversations.services.recorded_turns import NamedChat, begin_recorded_turn
from conversations.services.turns import finish_turn, save_progress
from conversations.tests.chat.turns import call_tools, ended, next_step, question, with_text
from conversations.tests.factories import access_of, make_user
from conversations.tests.services.resent import (
    UNNAMED,
    ask,
    assistant,
    begin,
    contents,
    end,
    paths,
    request,
    result,
    user,
)

MANY = 6
FIRST = [user("One?")]
SECOND = [*FIRST, assistant("One."), user("Two?")]
CALLS = [ToolCall("c0", "f", "{}")]


def at_once(work, many=MANY):
    """The results of `work(number)`, each in a thread with a connection of its own."""
    gate = threading.Barrier(many)

    def run(number):
        gate.wait()
        try:
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(many) as pool:
        return list(pool.map(run, range(many)))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("chat", [NamedChat(name="chat"), UNNAMED])
@pytest.mark.parametrize("begun", [False, True])
def test_of_equal_requests_with_a_key_one_begins(chat, begun):
    alice = make_user("alice")
    history = FIRST
    if begun:
        ask(alice, FIRST, "One.", chat=chat)
        history = SECOND
    found = at_once(lambda _: begin_recorded_turn(**request(alice, history, chat=chat, key="k")))
    assert sorted(created for _, created in found) == [False] * (MANY - 1) + [True]
    assert len({turn.id for turn, _ in found}) == 1
    assert all(turn == found[0][0] for turn, _ in found)
    assert contents(alice) == [each["content"] for each in history] + [""]
    assert Conversation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("begun", [False, True])
def test_several_models_answer_one_question_at_the_same_moment(begun):
    """As Open WebUI asks them: the same chat, the same messages."""
    alice = make_user("alice")
    history = FIRST
    if begun:
        ask(alice, FIRST, "One.")
        history = SECOND
    turns = at_once(lambda number: begin(alice, history, model=f"m{number}"))
    chat = Conversation.objects.get()
    assert Message.objects.filter(status=Status.STREAMING).count() == MANY
    save_progress([with_text(turn, "An") for turn in turns])
    for turn in turns:
        end(turn, f"Answer of {turn.model}")
    asked = [each["content"] for each in history]
    assert sorted(paths(chat)) == [[*asked, f"Answer of m{number}"] for number in range(MANY)]
    assert contents(alice).count(asked[-1]) == 1


@pytest.mark.django_db(transaction=True)
def test_a_first_request_that_is_sent_twice_without_a_name_makes_two_conversations():
    alice = make_user("alice")
    at_once(lambda _: begin(alice, FIRST, chat=UNNAMED), 2)
    assert Conversation.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_question_that_is_sent_twice_without_a_name_is_stored_once():
    alice = make_user("alice")
    ask(alice, FIRST, "One.", chat=UNNAMED)
    at_once(lambda _: begin(alice, SECOND, chat=UNNAMED))
    assert Conversation.objects.count() == 1
    assert contents(alice).count("Two?") == 1


@pytest.mark.django_db(transaction=True)
def test_different_questions_at_the_same_moment_are_branches():
    alice = make_user("alice")
    ask(alice, FIRST, "One.")
    turns = at_once(lambda number: begin(alice, [*SECOND[:2], user(f"{number}?")]))
    for turn in turns:
        end(turn, "Yes.")
    chat = Conversation.objects.get()
    wanted = [["One?", "One.", f"{number}?", "Yes."] for number in range(MANY)]
    assert sorted(paths(chat)) == wanted


def test_a_recorded_call_and_a_turn_of_the_server_run_beside_each_other(alice):
    """The steps of the one go on behind their own."""
    chat = NamedChat(name="chat")
    ask(alice, FIRST, "One.")
    key = Conversation.objects.get().pk
    turn, _ = begin_turn(**question(alice, conversation_id=key, content="Two?"))
    beside = begin(alice, SECOND, chat=chat)
    call_tools(turn, CALLS, "Wait.")
    next_step(turn, "Wait.")
    end(beside, "Zwei.")
    finish_turn(ended(turn, "complete", "stop", content="Two."))
    assert paths(Conversation.objects.get()) == [
        ["One?", "One.", "Two?", "Wait.", "Two."],
        ["One?", "One.", "Two?", "Zwei."],
    ]
    begin(alice, [*SECOND, assistant("Zwei."), user("Three?")])
    assert contents(alice)[-2:] == ["Three?", ""]


def test_all_others_still_wait_for_the_end_of_a_recorded_call(alice):
    first = ask(alice, FIRST, "One.")
    turn = begin(alice, SECOND)
    beside = begin(alice, SECOND)
    place = {"conversation_id": turn.conversation_id}
    again = {"owner": alice, "provider": "p", "model": "m", "extra": {}} | place
    named = {"question_id": first.user_message_id, "parent_id": first.user_message_id}
    opened = MessageDraft(role="assistant", status="streaming")
    refused = [
        lambda: begin_turn(**question(alice, **place)),
        lambda: begin_turn(**question(alice, **place, parent=first.id)),
        lambda: begin_again(**again, **named),
        lambda: append_drafts(
            drafts=[opened], parents=[first.id], access=access_of(alice), **place
        ),
    ]
    for each in (turn, beside):
        for attempt in refused:
            with pytest.raises(TurnRunning):
                attempt()
        end(each, "Two.")
    assert begin_turn(**question(alice, **place))


def test_all_abandoned_answers_of_a_conversation_are_ended(alice):
    turns = [begin(alice, FIRST, runner="a"), begin(alice, FIRST, runner="b")]
    place = {"owner_id": alice.pk, "conversation_id": turns[0].conversation_id}
    assert not interrupt_abandoned(**place, is_dead=lambda runner: False)
    assert interrupt_abandoned(**place, is_dead=lambda runner: runner == "a")
    assert interrupt_abandoned(**place, is_dead=lambda runner: True)
    assert set(Message.objects.values_list("status", flat=True)) == {"complete", "interrupted"}


def test_a_retry_beside_an_answer_that_still_runs(alice):
    """A client that has left, and asks again before this is noticed."""
    ask(alice, FIRST, "One.")
    left = begin(alice, SECOND)
    save_progress([with_text(left, "Two is")])
    again = begin(alice, SECOND)
    end(left, "Two is", "stopped")
    end(again, "Two.")
    begin(alice, [*SECOND, assistant("Two."), user("Three?")])
    assert contents(alice).count("Two?") == 1
    assert Branch.objects.count() == 2


def test_results_of_tools_follow_the_answer_that_called_them(alice):
    turns = [begin(alice, FIRST), begin(alice, FIRST)]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for number, turn in enumerate(turns):
        Message.objects.filter(id=turn.id).update(
            status="complete", tool_calls=[call | {"id": f"c{number}"}]
        )
    for number in range(2):
        said = assistant(None, tool_calls=[call | {"id": f"c{number}"}])
        ask(alice, [*FIRST, said, result(f"c{number}", f"{number}.")], f"Done {number}.")
    assert paths(Conversation.objects.get()) == [
        ["One?", "", "0.", "Done 0."],
        ["One?", "", "1.", "Done 1."],
    ]
