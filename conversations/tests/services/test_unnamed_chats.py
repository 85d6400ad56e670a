"""The conversation of a client that does not say which one it is."""

import pytest

from conversations.models import Conversation, Message
from conversations.services import unnamed_chats
from conversations.services.recorded_turns import NamedChat
from conversations.tests.services.resent import (
    UNNAMED,
    ask,
    assistant,
    begin,
    contents,
    end,
    paths,
    result,
    shown,
    user,
)

RETRY = NamedChat(is_retry=True)


def chats(owner):
    return Conversation.objects.filter(user=owner).order_by("created_at").count()


def say(owner, history, answer, status="complete", chat=UNNAMED):
    """The turn, and the history with its answer."""
    turn = ask(owner, history, answer, status, chat=chat)
    return turn, [*history, assistant(answer)]


def test_three_turns_are_one_conversation(alice):
    _, history = say(alice, [user("One?")], "One.")
    _, history = say(alice, [*history, user("Two?")], "Two.")
    _, history = say(alice, [*history, user("Three?")], "Three.")
    assert shown(alice) == ["One?", "One.", "Two?", "Two.", "Three?", "Three."]
    assert Conversation.objects.get().external_id is None


def test_the_same_first_message_begins_another_conversation_each_time(alice):
    for _ in range(3):
        say(alice, [user("hi")], "Hello!")
    assert chats(alice) == 3


def test_of_hundreds_that_begin_alike_the_right_one_goes_on(alice):
    histories = []
    for number in range(60):
        turn, history = say(alice, [user("hi")], "Hello!")
        first = turn.conversation_id
        turn, history = say(alice, [*history, user(f"Is it {number}?")], "Yes.")
        assert turn.conversation_id == first
        histories.append((first, history))
    for first, history in (histories[3], histories[40], histories[59]):
        turn, _ = say(alice, [*history, user("Sure?")], "Sure.")
        assert turn.conversation_id == first
    assert chats(alice) == 60


def test_several_users_of_one_token_that_begin_alike_do_not_share_a_conversation(alice):
    for _ in range(2):
        say(alice, [user("hi")], "Hello!")
    begun = [user("hi"), assistant("Hello!")]
    turns = [say(alice, [*begun, user(text)], "Yes.")[0] for text in ("A?", "B?")]
    assert turns[0].conversation_id != turns[1].conversation_id
    assert chats(alice) == 2


def test_an_answer_is_given_again_and_a_question_edited(alice):
    _, history = say(alice, [user("One?")], "One.")
    _, history = say(alice, [*history, user("Two?")], "Two.")
    say(alice, history[:3], "Zwei.")
    say(alice, [*history[:2], user("Three?")], "Three.")
    (chat,) = Conversation.objects.all()
    assert paths(chat) == [
        ["One?", "One.", "Two?", "Two."],
        ["One?", "One.", "Two?", "Zwei."],
        ["One?", "One.", "Three?", "Three."],
    ]


def test_a_client_that_leaves_out_the_oldest_messages(alice):
    history = []
    for number in range(30):
        _, history = say(alice, [*history[-19:], user(f"{number}?")], f"{number}.")
    assert chats(alice) == 1
    assert len(shown(alice)) == 60


def test_a_stopped_answer_of_which_the_client_has_less(alice):
    turn, _ = say(alice, [user("One?")], "One is a number that", "stopped")
    again, _ = say(alice, [user("One?"), assistant("One is"), user("Go on.")], "…")
    assert again.conversation_id == turn.conversation_id


def test_the_calls_of_tools(alice):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history = [user("Where?")]
    first = begin(alice, history, chat=UNNAMED)
    Message.objects.filter(id=first.id).update(status="complete", tool_calls=[call])
    history += [assistant(None, tool_calls=[call]), result("c1", "There.")]
    second, _ = say(alice, history, "There!")
    assert second.conversation_id == first.conversation_id
    assert contents(alice) == ["Where?", "", "There.", "There!"]


def test_examples_that_are_sent_with_each_request_are_no_conversation(alice):
    examples = [user("cat"), assistant("Katze")]
    for word in ("dog", "dog", "bird"):
        say(alice, [*examples, user(word)], "…")
    assert chats(alice) == 3


def test_a_history_that_was_begun_elsewhere_goes_on(alice):
    history = [user("One?"), assistant("One."), user("Two?")]
    _, history = say(alice, history, "Two.")
    say(alice, [*history, user("Three?")], "Three.")
    assert chats(alice) == 1
    assert len(contents(alice)) == 6


@pytest.mark.parametrize("status", ["failed", "stopped", "interrupted"])
def test_a_first_request_that_is_sent_again(alice, status):
    say(alice, [user("One?")], "", status)
    say(alice, [user("One?")], "One.", chat=RETRY)
    assert contents(alice) == ["One?", "", "One."]
    # An answer that is complete is not asked for again.
    say(alice, [user("One?")], "One.", chat=RETRY)
    assert chats(alice) == 2


def test_a_first_request_that_has_failed_just_now_is_sent_again_by_any_client(alice, monkeypatch):
    say(alice, [user("One?")], "", "failed")
    say(alice, [user("One?")], "", "failed")
    assert chats(alice) == 1
    monkeypatch.setattr(unnamed_chats, "RETRIED_WITHIN", unnamed_chats.RETRIED_WITHIN * 0)
    say(alice, [user("One?")], "One.")
    assert chats(alice) == 2


def test_a_first_request_beside_one_that_runs_begins_another_conversation(alice):
    begin(alice, [user("One?")], chat=UNNAMED)
    begin(alice, [user("One?")], chat=UNNAMED)
    assert chats(alice) == 2


def test_other_owners_and_named_conversations_are_left_alone(alice, bob):
    _, history = say(alice, [user("One?")], "One.")
    say(bob, [*history, user("Two?")], "Two.")
    assert (chats(alice), chats(bob)) == (1, 1)


def test_no_question_at_all(alice):
    end(begin(alice, [assistant("Hello, how can I help?")], chat=UNNAMED), "…")
    end(begin(alice, [{"role": "system", "content": "Speak."}], chat=UNNAMED), "…")
    assert chats(alice) == 2


def test_the_look_up_is_one_statement(alice, statements):
    _, history = say(alice, [user("One?")], "One.")
    with statements() as seen:
        begin(alice, [*history, user("Two?")], chat=UNNAMED)
    # The look-up, the conversation, what is compared, the append.
    assert len(seen) == 4
