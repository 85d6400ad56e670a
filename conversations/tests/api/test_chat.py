"""A turn over HTTP: what is answered, streamed and stored."""

import threading

import pytest

from conversations.models import Conversation, Message
from conversations.tests.chat.clients import names_of, text_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import says


def test_a_question_is_answered_and_both_are_stored(chat, scripted):
    scripted.script(says("Hel", "lo"))
    answer = chat.ask("  Who are you?  ")
    assert answer.status == 200
    body = answer.body
    assert (body["response"], body["status"], body["finish_reason"]) == (
        "Hello",
        "complete",
        "stop",
    )
    assert body["usage"] == {
        "prompt_tokens": 8,
        "completion_tokens": 2,
        "cached_tokens": None,
        "reasoning_tokens": None,
        "cost": None,
    }
    assert body["latency_ms"] >= body["first_token_ms"] >= 0
    assert (body["provider"], body["model"]) == ("scripted", "scripted")
    assert body["actions_taken"] == []
    assert body["sources"] is None
    assert body["detected_mode"] is None
    asked, said = chat.messages(body["conversation_id"])
    assert (asked["role"], asked["content"]) == ("user", "  Who are you?  ")
    assert scripted.chats[-1].body["messages"][-1]["content"] == "  Who are you?  "
    assert (said["role"], said["content"], said["status"]) == ("assistant", "Hello", "complete")
    assert said["id"] == body["message_id"] == body["stream_id"]
    assert (said["prompt_tokens"], said["completion_tokens"]) == (8, 2)
    assert (said["latency_ms"], said["first_token_ms"]) == (
        body["latency_ms"],
        body["first_token_ms"],
    )
    assert said["metadata"] == {}
    assert Conversation.objects.get().title == "Who are you?"


def test_the_same_as_events(chat, scripted):
    scripted.script(says("Hel", "lo", pause=0.05))
    stream = chat.stream("Who are you?")
    assert stream.headers["Content-Type"] == "text/event-stream"
    assert stream.headers["Cache-Control"] == "no-cache, no-transform"
    assert stream.headers["X-Accel-Buffering"] == "no"
    events = list(stream)
    assert names_of(events) == ["start", "delta", "done"]
    assert text_of(events) == "Hello" == events[-1].data["response"]
    start = events[0].data
    assert start["message_id"] == events[-1].data["message_id"]
    assert start["user_message_id"] == chat.messages(start["conversation_id"])[0]["id"]
    assert len({event.id for event in events}) == len(events)


def test_the_question_is_stored_before_the_model_answers(chat, scripted):
    gate = threading.Event()
    scripted.script(says(gate, "Hello"))
    stream = iter(chat.stream("Are you there?"))
    start = next(stream).data
    scripted.wait_for(lambda: scripted.chats)
    asked, said = chat.messages(start["conversation_id"])
    assert asked["content"] == "Are you there?"
    assert (said["content"], said["status"]) == ("", "streaming")
    gate.set()
    assert [event.name for event in stream] == ["delta", "done"]


def test_a_client_that_leaves_does_not_end_the_turn(chat, scripted):
    gate = threading.Event()
    scripted.script(says("a", "b", "c", gate, "d", "e"))
    stream = chat.stream()
    events = iter(stream)
    start = next(events).data
    while text_of([next(events)]) != "":
        if scripted.chats and Message.objects.filter(role="assistant").exists():
            break
    stream.close()
    gate.set()
    wait_until(lambda: Message.objects.get(id=start["message_id"]).status == "complete")
    assert Message.objects.get(id=start["message_id"]).content == "abcde"


def test_it_comes_back_and_gets_the_rest(chat, scripted):
    gate = threading.Event()
    scripted.script(says("a", "b", "c", gate, "d", "e"))
    stream = chat.stream()
    seen = []
    for event in stream:
        seen.append(event)
        if text_of(seen) == "abc":
            break
    stream.close()
    rest = chat.join(seen[0].data["message_id"], last=seen[-1].id)
    gate.set()
    events = list(rest)
    assert names_of(events) == ["delta", "done"]
    assert text_of(seen + events) == "abcde" == events[-1].data["response"]
    again = list(chat.join(seen[0].data["message_id"]))
    assert names_of(again) == ["start", "delta", "done"]
    assert again[-1].data == events[-1].data
    assert chat.join(seen[0].data["message_id"], last=events[-1].id).status == 204


def test_an_event_source_that_comes_back_asks_once(chat, scripted):
    events = list(chat.ask_stream("Who?"))
    rest = list(chat.ask_stream("Who?", last=events[1].id))
    assert [event.name for event in rest] == ["done"]
    assert chat.ask_stream("Who?", last=events[-1].id).status == 204
    assert len(scripted.chats) == 1


def test_a_second_turn_while_one_runs_is_refused(chat, scripted):
    gate = threading.Event()
    scripted.script(says("a", gate))
    stream = iter(chat.stream())
    conversation = next(stream).data["conversation_id"]
    second = chat.ask("And?", conversation_id=conversation)
    assert (second.status, second.body["errors"][0]["code"]) == (409, "turn_running")
    gate.set()
    assert [event.name for event in stream][-1] == "done"
    assert chat.ask("And?", conversation_id=conversation).status == 200
    assert Message.objects.count() == 4


def test_the_history_is_sent_along(chat, scripted):
    scripted.script(says("one"), says("two"))
    conversation = chat.ask("First").body["conversation_id"]
    chat.ask("Second", conversation_id=conversation)
    assert scripted.chats[1].messages == [
        ("system", "You are a helpful assistant."),
        ("user", "First"),
        ("assistant", "one"),
        ("user", "Second"),
    ]


@pytest.mark.parametrize("message", ["", "   ", "x" * 10_001, "\x00", 5, None])
def test_what_cannot_be_asked_is_refused_by_name(chat, message):
    answer = chat.ask(message)
    assert answer.status == 400
    assert answer.body["errors"][0]["attr"] == "message"
    assert Message.objects.count() == 0
