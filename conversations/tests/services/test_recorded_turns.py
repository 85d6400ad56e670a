"""Which conversation a recorded model call belongs to, and what of its history is stored."""

import uuid

import pytest

from conversations.models import Conversation, Message, Status
from conversations.services import (
    SCRIPT,
    Deleted,
    InvalidValue,
    KeyReused,
    NotFound,
    TurnRunning,
    delete_message,
)
from conversations.services.branches import activate_branch
from conversations.services.recorded_turns import NamedChat, begin_recorded_turn
from conversations.tests.factories import make_conversation
from conversations.tests.services.resent import (
    CHAT,
    ask,
    assistant,
    begin,
    call,
    contents,
    end,
    paths,
    request,
    result,
    shown,
    stored,
    system,
    user,
)

ONE = [user("One?"), assistant("One."), user("Two?")]
TWO = [*ONE, assistant("Two."), user("Three?")]


@pytest.fixture
def asked(alice):
    """Two turns."""
    ask(alice, ONE[:1], "One.")
    ask(alice, ONE, "Two.")
    return Conversation.objects.get()


def test_a_first_request_makes_the_conversation(alice):
    turn = begin(alice, [system("Be brief."), user("One?")], extra={"a": 1})
    chat = Conversation.objects.get()
    assert (chat.external_id, chat.title, chat.model_used) == ("chat", "One?", "m")
    answer = Message.objects.get(id=turn.id)
    assert (answer.status, answer.provider, answer.model) == ("streaming", "p", "m")
    assert answer.extra == {"a": 1}
    assert stored(alice) == [("system", "Be brief."), ("user", "One?"), ("assistant", "")]
    assert turn.user_message_id == Message.objects.get(role="user").id


def test_of_the_history_only_the_end_is_stored(alice, asked, statements):
    with statements() as seen:
        turn = begin(alice, TWO)
    assert contents(alice) == ["One?", "One.", "Two?", "Two.", "Three?", ""]
    assert turn.conversation_id == asked.pk
    # The conversation, what is compared, the append.
    assert len(seen) == 3


def test_a_history_that_ends_in_an_answered_question_is_answered_again(alice, asked):
    turn = ask(alice, ONE, "Zwei.")
    assert paths(asked) == [["One?", "One.", "Two?", "Two."], ["One?", "One.", "Two?", "Zwei."]]
    assert shown(alice)[-1] == "Zwei."
    assert turn.user_message_id == Message.objects.get(content="Two?").id
    # Whichever of them the client goes on with.
    begin(alice, TWO)
    assert shown(alice) == ["One?", "One.", "Two?", "Two.", "Three?", ""]


@pytest.mark.parametrize("status", ["failed", "stopped", "interrupted"])
def test_a_retry_does_not_store_the_question_twice(alice, asked, status):
    ask(alice, TWO, "", status)
    ask(alice, TWO, "Three.")
    assert shown(alice) == ["One?", "One.", "Two?", "Two.", "Three?", "Three."]
    assert contents(alice).count("Three?") == 1


def test_a_question_after_one_that_failed_follows_it(alice, asked):
    ask(alice, TWO, "", "failed")
    begin(alice, [*TWO, user("Four?")])
    assert paths(asked) == [["One?", "One.", "Two?", "Two.", "Three?", "", "Four?", ""]]


def test_an_edited_question_is_a_branch(alice, asked):
    ask(alice, [*ONE[:2], user("Three?")], "Three.")
    assert paths(asked) == [["One?", "One.", "Two?", "Two."], ["One?", "One.", "Three?", "Three."]]


def test_an_edited_first_question_is_another_beginning(alice, asked):
    ask(alice, [user("Eins?")], "Eins.")
    begin(alice, [user("Eins?"), assistant("Eins."), user("Zwei?")])
    assert paths(asked) == [["One?", "One.", "Two?", "Two."], ["Eins?", "Eins.", "Zwei?", ""]]


def test_an_edited_answer_is_a_branch(alice, asked):
    begin(alice, [user("One?"), assistant("1."), user("Two?")])
    assert paths(asked) == [["One?", "One.", "Two?", "Two."], ["One?", "1.", "Two?", ""]]


def test_a_branch_is_followed_that_is_not_the_active_one(alice, asked):
    ask(alice, [*ONE[:2], user("Zwei?")], "Zwei.")
    ask(alice, [*ONE[:2], user("Zwei?"), assistant("Zwei."), user("Drei?")], "Drei.")
    activate_branch(conversation_id=asked.pk, number=0, access=SCRIPT)
    begin(alice, [*ONE[:2], user("Zwei?"), assistant("Zwei."), user("Drei?")])
    assert contents(alice).count("Drei?") == contents(alice).count("Zwei?") == 1
    assert shown(alice) == ["One?", "One.", "Zwei?", "Zwei.", "Drei?", ""]


def test_of_answers_that_say_the_same_the_one_with_the_rest_is_followed(alice, asked):
    ask(alice, ONE[:1], "One.")
    assert shown(alice) == ["One?", "One."]
    begin(alice, TWO)
    assert shown(alice) == ["One?", "One.", "Two?", "Two.", "Three?", ""]
    assert contents(alice).count("Two?") == 1


def test_other_instructions_are_no_difference(alice):
    ask(alice, [system("It is Monday."), *ONE[:1]], "One.")
    ask(alice, [system("It is Monday."), *ONE], "Two.")
    ask(alice, [system("It is Tuesday."), *TWO], "Three.")
    begin(alice, [*TWO, assistant("Three."), user("Four?")])
    assert shown(alice)[:3] == ["It is Monday.", "One?", "One."]
    questions = Message.objects.filter(role="user").order_by("sequence")
    assert [message.extra for message in questions] == [
        None,
        None,
        {"request": {"system": "It is Tuesday."}},
        {"request": {"system": ""}},
    ]


def test_other_instructions_with_an_edited_first_question(alice):
    ask(alice, [system("It is Monday."), user("One?")], "One.")
    turn = begin(alice, [system("It is Tuesday."), user("Eins?")])
    assert shown(alice) == ["It is Monday.", "Eins?", ""]
    asked = Message.objects.get(id=turn.user_message_id)
    assert asked.extra == {"request": {"system": "It is Tuesday."}}


def test_instructions_within_a_history_are_stored_where_they_come(alice, asked):
    ask(alice, [*TWO[:4], system("Briefly."), TWO[4]], "3.")
    assert shown(alice)[4:] == ["Briefly.", "Three?", "3."]
    # And are missing, or another place is theirs, in the next request.
    begin(alice, [*TWO, assistant("3."), system("At length."), user("Four?")])
    assert shown(alice)[4:] == ["Briefly.", "Three?", "3.", "At length.", "Four?", ""]


def test_instructions_after_a_question_are_not_repeated(alice, asked):
    history = [*TWO, system("Briefly.")]
    ask(alice, history, "3.")
    ask(alice, history, "III.")
    assert contents(alice).count("Briefly.") == contents(alice).count("Three?") == 1
    assert shown(alice)[4:] == ["Three?", "Briefly.", "III."]


def test_calls_of_tools_and_their_results_are_compared(alice):
    history = [user("Where?")]
    first = begin(alice, history)
    Message.objects.filter(id=first.id).update(
        status="complete", tool_calls=[call("c1", '{"a": 1, "b": 2}')]
    )
    said = assistant(None, tool_calls=[call("c1", '{"b":2,"a":1}')])
    second = begin(alice, [*history, said, result("c1", "There.")])
    end(second, "There!")
    begin(alice, [*history, said, result("c1", "There."), assistant("There!"), user("Thanks.")])
    assert contents(alice) == ["Where?", "", "There.", "There!", "Thanks.", ""]
    chat = Conversation.objects.get()
    assert chat.branch_count == 1
    end(Message.objects.get(status="streaming") and find_running(alice), "Bye.")
    begin(alice, [*history, said, result("c1", "Elsewhere.")])
    chat.refresh_from_db()
    assert chat.branch_count == 2


def find_running(owner):
    """The turn of the owner's running answer."""
    from conversations.selectors.turn_log import read_turn

    return read_turn(
        Message.objects.values_list("user_id", "conversation_id", "id").get(status="streaming")
    )


def test_images_are_compared(alice):
    def picture(url):
        image = {"type": "image_url", "image_url": {"url": url}}
        return user([{"type": "text", "text": "What?"}, image])

    ask(alice, [picture("https://a/1.png")], "A cat.")
    begin(alice, [picture("https://a/1.png"), assistant("A cat."), user("Sure?")])
    assert contents(alice) == ["What?", "A cat.", "Sure?", ""]
    ask_again = [picture("https://a/2.png")]
    end(find_running(alice), "Yes.")
    begin(alice, ask_again)
    assert contents(alice).count("What?") == 2


def test_a_continued_answer_is_one_to_the_client(alice):
    ask(alice, ONE[:1], "One is", "stopped")
    ask(alice, [*ONE[:1], assistant("One is")], " a number.")
    assert shown(alice) == ["One?", "One is", " a number."]
    begin(alice, [ONE[0], assistant("One is a number."), user("Two?")])
    assert shown(alice) == ["One?", "One is", " a number.", "Two?", ""]


def test_what_a_client_kept_of_a_stopped_answer_is_that_answer(alice, asked):
    ask(alice, TWO, "Three is a number that", "stopped")
    ask(alice, [*TWO, assistant("Three is a"), user("Four?")], "Four.")
    assert len(paths(asked)) == 1
    ask(alice, [*TWO, assistant("Three is a number"), user("Four?")], "4.")
    assert len(paths(asked)) == 2
    assert contents(alice).count("Four?") == 1


def test_a_question_with_sources_is_sent_again_without_them(alice, asked):
    sources = (
        "### Task:\nRespond to the user query using the provided context.\n<context>\n"
        "<source>…</source>\n</context>\n\n"
    )
    ask(alice, [*TWO[:4], user(f"{sources}Three?")], "Three.")
    begin(alice, [*TWO, assistant("Three."), user("Four?")])
    assert len(paths(asked)) == 1


def test_a_question_in_another_template_is_known_by_its_answer(alice, asked):
    ask(alice, [*TWO[:4], user("Use this:\nsource\n\nThree?")], "Three.")
    begin(alice, [*TWO, assistant("Three."), user("Four?")])
    assert len(paths(asked)) == 1
    end(find_running(alice), "Four.")
    # As an edit it would be answered anew.
    begin(alice, TWO)
    assert len(paths(asked)) == 2


def test_the_title_is_the_question_without_its_sources(alice):
    text = "### Task:\nRespond to the user query using …</context>\nWhat is one?"
    begin(alice, [user(text)])
    chat = Conversation.objects.get()
    assert (chat.title, contents(alice)[0]) == ("What is one?", text)


LONG = [each for n in range(30) for each in (user(f"{n}?"), assistant(f"{n}."))]


@pytest.fixture
def long(alice):
    """A conversation of 60 messages."""
    begin(alice, LONG[:-1])
    end(find_running(alice), "29.")
    return Conversation.objects.get()


@pytest.mark.parametrize("left_out", [1, 2, 20, 57, 59])
def test_a_history_without_its_oldest_messages_continues_the_path(alice, long, left_out):
    turn = begin(alice, [system("Be brief."), *LONG[left_out:], user("30?")])
    assert len(paths(long)) == 1
    assert contents(alice)[60:] == ["30?", ""]
    asked = Message.objects.get(id=turn.user_message_id)
    assert asked.extra == {"request": {"trimmed": True, "system": "Be brief."}}


def test_a_history_with_its_first_messages_and_the_last_continues_the_path(alice, long):
    begin(alice, [*LONG[:2], *LONG[40:], user("30?")])
    assert len(paths(long)) == 1


def test_the_last_answer_of_a_history_without_its_oldest_messages_is_given_again(alice, long):
    turn = begin(alice, LONG[30:59])
    assert turn.user_message_id == Message.objects.get(content="29?").id
    assert contents(alice).count("29?") == 1
    assert Message.objects.get(id=turn.id).extra == {"request": {"trimmed": True}}
    end(turn, "29!")
    begin(alice, [*LONG[30:58], user("Else?")])
    assert [len(path) for path in paths(long)] == [60, 60, 60]
    assert len(contents(alice)) == 63


def test_an_edited_first_message_is_not_taken_for_oldest_ones_left_out(alice, long):
    begin(alice, [user("Zero?"), *LONG[1:], user("30?")])
    assert [len(path) for path in paths(long)] == [60, 62]


def test_one_question_that_was_asked_later_is_another_beginning(alice, long):
    begin(alice, [user("20?")])
    assert [len(path) for path in paths(long)] == [60, 2]


def test_more_messages_than_one_append_takes(alice):
    history = [each for n in range(800) for each in (user(f"{n}?"), assistant(f"{n}."))]
    turn = begin(alice, [*history, user("Last?")])
    chat = Conversation.objects.get()
    assert (chat.message_count, chat.last_sequence) == (1_602, 1_602)
    assert turn.place == (0, 1_602)
    end(turn, "Last.")
    begin(alice, [user("Other?"), *history[1:], user("Last?")])
    assert [len(path) for path in paths(chat)] == [1_602, 1_602]


def test_the_path_of_the_request_is_told_in_errors(alice, asked):
    with pytest.raises(InvalidValue) as refused:
        begin(alice, [*TWO, user("a\x00")])
    assert refused.value.field == "messages.5.content"
    with pytest.raises(InvalidValue) as refused:
        begin(alice, [*ONE, {"role": "robot", "content": "x"}])
    assert refused.value.field == "messages.3.role"
    with pytest.raises(InvalidValue) as refused:
        begin_recorded_turn(**request(alice, []))
    assert refused.value.field == "messages"
    assert len(contents(alice)) == 4


def test_empty_messages_are_stored(alice):
    ask(alice, [user(""), assistant(""), user(" ")], "Hm.")
    begin(alice, [user(""), assistant(""), user(" "), assistant("Hm."), user("Well?")])
    assert contents(alice) == ["", "", " ", "Hm.", "Well?", ""]


def test_a_conversation_of_ours_is_named_by_its_id(alice, bob):
    chat = make_conversation(alice, 2)
    history = [user("message 1"), assistant("message 2"), user("Three?")]
    for named in ({"conversation_id": chat.pk}, {"name": str(chat.pk)}):
        turn = ask(alice, history, "3.", chat=NamedChat(**named))
        assert turn.conversation_id == chat.pk
    with pytest.raises(NotFound):
        begin(bob, history, chat=NamedChat(conversation_id=chat.pk))
    # A name of an application's own, whatever it looks like.
    begun = begin(bob, history, chat=NamedChat(name=str(chat.pk)))
    assert begun.conversation_id != chat.pk
    assert Conversation.objects.get(user=bob).external_id == str(chat.pk)


@pytest.mark.parametrize("name", ["", " ", "a\x00", "x" * 256])
def test_a_name_that_cannot_be_stored_is_refused(alice, name):
    with pytest.raises(InvalidValue) as refused:
        begin(alice, ONE, chat=NamedChat(name=name))
    assert refused.value.field == "external_id"
    assert not Conversation.objects.exists()


def test_a_history_that_goes_on_after_a_running_answer_waits_for_its_end(alice, asked):
    turn = begin(alice, TWO)
    Message.objects.filter(id=turn.id).update(content="Three is a")
    with pytest.raises(TurnRunning):
        begin(alice, [*TWO, assistant("Three"), user("Four?")])
    # Unless nobody runs it any more.
    begin(alice, [*TWO, assistant("Three"), user("Four?")], is_dead=lambda runner: True)
    assert Message.objects.get(id=turn.id).status == Status.INTERRUPTED
    assert len(paths(asked)) == 1


def test_a_key_stands_for_one_request(alice, asked):
    first, created = begin_recorded_turn(**request(alice, TWO, key="k"))
    assert created
    again, created = begin_recorded_turn(**request(alice, TWO, key="k"))
    assert (again, created) == (first, False)
    end(first, "Three.")
    again, created = begin_recorded_turn(**request(alice, TWO, key="k"))
    assert (again.id, again.status, created) == (first.id, "complete", False)
    for other in (
        {"model": "n"},
        {"extra": {"temperature": 1}},
        {"history": [*TWO, assistant("Three."), user("Four?")]},
        {"chat": NamedChat(name="other"), "history": ONE},
    ):
        history = other.pop("history", TWO)
        with pytest.raises(KeyReused) as refused:
            begin(alice, history, key="k", **other)
        assert refused.value.field == "Idempotency-Key"
    assert Conversation.objects.count() == 1
    delete_message(conversation_id=asked.pk, message_id=first.id, access=SCRIPT)
    with pytest.raises(Deleted):
        begin(alice, TWO, key="k")


def test_a_key_of_another_owner_is_another_key(alice, bob):
    assert begin(alice, ONE, key="k").id != begin(bob, ONE, key="k").id


def test_emptied_messages_are_not_stored_again(alice, asked):
    from django.utils import timezone

    from conversations.models.message import EMPTIED

    Message.objects.filter(sequence__lte=2).update(**EMPTIED, emptied_at=timezone.now())
    begin(alice, TWO)
    assert contents(alice) == ["", "", "Two?", "Two.", "Three?", ""]


def test_nothing_of_another_conversation_is_touched(alice, bob, asked):
    ask(bob, ONE, "2.")
    ask(alice, ONE, "2.", chat=NamedChat(name="other"))
    asked.refresh_from_db()
    assert asked.message_count == 4
    assert Conversation.objects.count() == 3
    assert begin(alice, TWO, chat=CHAT).conversation_id == asked.pk
    assert uuid.UUID(str(asked.pk)) == asked.pk
