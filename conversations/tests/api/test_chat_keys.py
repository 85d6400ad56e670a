"""Requests that are repeated: the model is asked once."""

import threading
from concurrent.futures import ThreadPoolExecutor

from conversations.models import Conversation, Message
from conversations.tests.chat.scripted_behaviours import breaks, says


def test_a_repeated_request_gets_the_stored_turn(chat, scripted):
    first, again = chat.ask("Hi", key="k"), chat.ask("Hi", key="k")
    assert (first.status, again.status) == (200, 200)
    assert first.body == again.body
    assert len(scripted.chats) == 1
    assert (Conversation.objects.count(), Message.objects.count()) == (1, 2)


def test_also_within_a_conversation(chat, scripted):
    conversation = chat.ask("First").body["conversation_id"]
    first = chat.ask("Hi", key="k", conversation_id=conversation)
    again = chat.ask("Hi", key="k", conversation_id=conversation)
    assert first.body == again.body
    assert len(scripted.chats) == 2
    other = chat.ask("Hi", key="other", conversation_id=conversation)
    assert other.body["message_id"] != first.body["message_id"]


def test_another_message_under_the_key_is_refused(chat, scripted):
    chat.ask("Hi", key="k")
    answer = chat.ask("Ho", key="k")
    assert (answer.status, answer.body["errors"][0]["code"]) == (409, "key_reused")
    assert len(scripted.chats) == 1


def test_a_repeat_joins_the_turn_that_runs(chat, scripted):
    gate = threading.Event()
    scripted.script(says("a", gate, "b"))
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(chat.ask, "Hi", key="k") for _ in range(3)]
        streams = [pool.submit(lambda: list(chat.stream("Hi", key="k"))) for _ in range(3)]
        scripted.wait_for(lambda: scripted.chats)
        gate.set()
        bodies = [answer.result().body for answer in answers]
        ends = [stream.result()[-1].data for stream in streams]
    assert all(body == bodies[0] for body in bodies + ends)
    assert bodies[0]["response"] == "ab"
    assert len(scripted.chats) == 1
    assert Message.objects.count() == 2


def test_a_repeat_of_a_failed_turn_says_the_same(chat, scripted):
    scripted.script(breaks())
    first, again = chat.ask("Hi", key="k"), chat.ask("Hi", key="k")
    assert (first.status, again.status) == (502, 502)
    assert first.body["errors"] == again.body["errors"]
    assert len(scripted.chats) == 1


def test_a_key_in_the_query_string(chat, scripted):
    first, again = list(chat.ask_stream("Hi", key="k")), list(chat.ask_stream("Hi", key="k"))
    assert first[-1].data == again[-1].data
    assert len(scripted.chats) == 1
