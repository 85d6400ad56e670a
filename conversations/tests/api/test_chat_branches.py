"""Edited questions and answers that are given again: where they are stored, and what the model is
shown."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from random import Random

import pytest
from django.db import connection

from conversations.models import Branch, Conversation, Message
from conversations.models.branch_path import number_of
from conversations.selectors.branches import BEGINNING
from conversations.services import SCRIPT, MessageDraft, add_message, append_drafts
from conversations.services.branches import activate_branch
from conversations.tests.chat import sample_tools
from conversations.tests.chat.branches import (
    children,
    contents,
    following,
    key,
    no_system_prompt,
    refusal,
    shown,
    talk,
    user_messages,
)
from conversations.tests.chat.clients import names_of, text_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import Call, breaks, calls, says

__all__ = ["key", "no_system_prompt", "talk"]


def test_five_answers_and_two_edits(chat, scripted, talk, key):
    one, two = user_messages()
    again = talk[1]
    for letter in "bcdef":
        scripted.script(says(f"2{letter}"))
        again = chat.regenerate(again["message_id"]).body
        assert again["response"] == f"2{letter}"
        assert again["conversation_id"] == key
        assert shown(scripted) == ["One?", "1a", "Two?"]
        assert contents(key) == ["One?", "1a", "Two?", f"2{letter}"]
    assert following(two.id) == ["2a", "2b", "2c", "2d", "2e", "2f"]
    scripted.script(says("2x"), says("1y"))
    edited = chat.ask("Deux?", conversation_id=key, parent_id=talk[0]["message_id"])
    assert edited.body["conversation_id"] == key
    assert shown(scripted) == ["One?", "1a", "Deux?"]
    assert following(talk[0]["message_id"]) == ["Two?", "Deux?"]
    chat.ask("Uno?", conversation_id=key, parent_id="root")
    assert shown(scripted) == ["Uno?"]
    assert children(one.user_id, one.conversation_id, BEGINNING) == ["One?", "Uno?"]
    # No question was stored for an answer that was given again.
    assert [m.content for m in user_messages()] == ["One?", "Two?", "Deux?", "Uno?"]
    assert Conversation.objects.get().branch_count == 8
    assert Message.objects.count() == Conversation.objects.get().message_count == 13


def test_a_question_without_a_parent_follows_the_active_branch(chat, scripted, talk, key):
    scripted.script(says("2b"), says("3b"), says("3a"), says("4b"))
    chat.regenerate(talk[1]["message_id"])
    end = chat.ask("Three?", conversation_id=key).body["message_id"]
    assert shown(scripted) == ["One?", "1a", "Two?", "2b", "Three?"]
    activate_branch(conversation_id=key, number=0, access=SCRIPT)
    chat.ask("Third?", conversation_id=key)
    assert shown(scripted) == ["One?", "1a", "Two?", "2a", "Third?"]
    # The end of another branch is no fork.
    chat.ask("Four?", conversation_id=key, parent_id=end)
    assert shown(scripted) == ["One?", "1a", "Two?", "2b", "Three?", "3b", "Four?"]
    assert Branch.objects.count() == 2
    assert Conversation.objects.get().active_branch == 1


def test_the_question_of_an_earlier_turn_keeps_what_follows_it(chat, scripted, talk, key):
    scripted.script(says("1b"), says("2b"))
    answer = chat.regenerate(talk[0]["message_id"]).body
    assert shown(scripted) == ["One?"]
    assert contents(key) == ["One?", "1b"]
    assert contents(key, 0) == ["One?", "1a", "Two?", "2a"]
    chat.ask("Next?", conversation_id=key)
    assert shown(scripted) == ["One?", "1b", "Next?"]
    assert number_of(Message.objects.get(id=answer["message_id"]).branch) == 1


def test_another_model_and_options_of_this_turn_alone(chat, scripted, settings, talk):
    settings.CHAT_PROVIDERS["other"] = settings.CHAT_PROVIDERS["scripted"] | {"model": "big"}
    named = {"model": "small", "temperature": 0.5, "system": "Be brief."}
    small = chat.regenerate(talk[1]["message_id"], **named).body
    asked = scripted.chats[-1].body
    assert (small["model"], asked["model"], asked["temperature"]) == ("small", "small", 0.5)
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    stored = Message.objects.get(id=small["message_id"])
    expected = {"regenerate": talk[1]["message_id"], "temperature": 0.5, "system": "Be brief."}
    assert stored.extra["request"] == expected
    # What the model said of its answer is beside it.
    assert "id" in stored.extra
    # Without a model that of the answer, without any option of it.
    same = chat.regenerate(small["message_id"]).body
    assert (same["provider"], same["model"]) == ("scripted", "small")
    assert scripted.chats[-1].body.get("temperature") is None
    assert shown(scripted) == ["One?", "1a", "Two?"]
    other = chat.regenerate(small["message_id"], provider="other").body
    assert (other["provider"], other["model"]) == ("other", "big")


def test_an_answer_of_a_provider_that_is_not_here_gets_the_default(chat, scripted, talk):
    for provider in ("mainframe", ""):
        Message.objects.filter(id=talk[1]["message_id"]).update(provider=provider, model="m1")
        again = chat.regenerate(talk[1]["message_id"]).body
        assert (again["provider"], again["model"]) == ("scripted", "scripted")


def test_images_of_the_question_are_shown_again(chat, scripted, settings):
    settings.CHAT_PROVIDERS["scripted"]["vision"] = True
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}
    body = chat.ask("What is it?", parts=[image]).body
    before = scripted.chats[-1].body["messages"]
    chat.regenerate(body["message_id"])
    assert scripted.chats[-1].body["messages"] == before


def test_what_surrounds_the_question_is_found_out_anew(chat, scripted, settings, talk):
    settings.CHAT_RETRIEVER = "conversations.tests.api.test_chat_context.Fixed"
    again = chat.regenerate(talk[1]["message_id"]).body
    assert [source["text"] for source in again["sources"]] == ["The answer is 42."]


# Events


def test_the_events_are_those_of_any_turn(chat, scripted, talk, key):
    two = user_messages()[1]
    scripted.script(says("2", "b"))
    events = list(chat.stream_again(talk[1]["message_id"]))
    assert names_of(events) == ["start", "delta", "done"]
    start = {
        "conversation_id": key,
        "message_id": events[-1].data["message_id"],
        "user_message_id": str(two.id),
        "provider": "scripted",
        "model": "scripted",
    }
    assert events[0].data == start
    assert events[-1].data["response"] == text_of(events) == "2b"
    assert events[-1].data.keys() == talk[1].keys()
    joined = list(chat.join(start["message_id"]))
    assert [event.data for event in joined] == [
        start,
        {"text": "2b", "message_id": start["message_id"], "step": 1},
        events[-1].data,
    ]


def test_by_the_query_string(chat, scripted, talk, key):
    scripted.script(says("2b"), says("2x"))
    again = list(chat.ask_stream(None, regenerate=talk[1]["message_id"], session_id=key))
    assert again[-1].data["response"] == "2b"
    edited = {"session_id": key, "parent_id": talk[0]["message_id"]}
    assert list(chat.ask_stream("Deux?", **edited))[-1].data["response"] == "2x"
    assert shown(scripted) == ["One?", "1a", "Deux?"]
    assert list(chat.ask_stream("Uno?", session_id=key, parent_id="root"))[-1].name == "done"
    assert shown(scripted) == ["Uno?"]


# Tools


@pytest.fixture
def tools(settings):
    path = "conversations.tests.chat.sample_tools"
    settings.CHAT_TOOLS = [f"{path}.weather", f"{path}.waits"]
    sample_tools.gate.clear()
    yield sample_tools.gate
    sample_tools.gate.set()


@pytest.mark.parametrize("named", ["message_id", "stream_id"])
def test_any_message_of_an_answer_gives_the_whole_turn_again(chat, scripted, tools, named):
    rome = Call("weather", {"city": "Rome"})
    scripted.script(calls(rome, text="Let me see. "), says("Sunny."))
    first = chat.ask("Rome?").body
    scripted.script(calls(rome, text="Again. "), says("Still sunny."))
    again = chat.regenerate(first[named]).body
    assert [request.messages for request in scripted.chats[2:]] == [
        [("user", "Rome?")],
        [("user", "Rome?"), ("assistant", "Again. "), ("tool", "Sunny in Rome.")],
    ]
    question, key = user_messages()[0], first["conversation_id"]
    assert contents(key) == ["Rome?", "Again. ", "Sunny in Rome.", "Still sunny."]
    assert contents(key, 0) == ["Rome?", "Let me see. ", "Sunny in Rome.", "Sunny."]
    assert following(question.id) == ["Let me see. ", "Again. "]
    joined = list(chat.join(again["message_id"]))
    assert joined[0].data["user_message_id"] == str(question.id)
    assert joined[-1].data == again
    # What was requested is kept with the first message, beside what the model said of it.
    kept = [Message.objects.get(id=again[name]).extra for name in ("stream_id", "message_id")]
    assert [extra.get("request") for extra in kept] == [{"regenerate": first[named]}, None]
    assert all("id" in extra for extra in kept)


def test_a_turn_stays_on_its_branch_whatever_is_shown_meanwhile(chat, scripted, tools, talk, key):
    scripted.script(calls(Call("waits"), text="Wait. "), says("Done."))
    stream = iter(chat.stream_again(talk[1]["message_id"]))
    start = next(stream).data
    wait_until(lambda: Message.objects.get(id=start["message_id"]).tool_calls)
    activate_branch(conversation_id=key, number=0, access=SCRIPT)
    add_message(conversation_id=key, role="user", content="Elsewhere")
    # On its own branch: between the call and its result, as in a conversation without branches.
    draft = MessageDraft(role="user", content="Meanwhile")
    append_drafts(conversation_id=key, drafts=[draft], access=SCRIPT, branch=1, activate=False)
    tools.set()
    last = list(stream)[-1].data
    assert last["response"] == "Wait. Done."
    assert contents(key, 1) == ["One?", "1a", "Two?", "Wait. ", "Meanwhile", "waited", "Done."]
    assert contents(key, 0) == ["One?", "1a", "Two?", "2a", "Elsewhere"]
    assert Conversation.objects.get().active_branch == 0
    assert list(chat.join(last["message_id"]))[-1].data == last
    # The user's message does not part the turn from its question.
    scripted.script(says("Whole."))
    assert chat.regenerate(last["message_id"]).status == 200
    assert shown(scripted) == ["One?", "1a", "Two?"]


def test_a_turn_on_the_first_line_stays_there_when_the_line_is_forked(chat, scripted, tools, key):
    scripted.script(calls(Call("waits"), text="Wait. "), says("Done."))
    stream = iter(chat.stream("Three?", conversation_id=key))
    start = next(stream).data
    wait_until(lambda: Message.objects.get(id=start["message_id"]).tool_calls)
    one = user_messages()[0]
    draft = MessageDraft(role="user", content="Aside")
    append_drafts(conversation_id=key, drafts=[draft], access=SCRIPT, parents=[one.id])
    tools.set()
    last = list(stream)[-1].data
    line = ["One?", "1a", "Two?", "2a", "Three?", "Wait. ", "waited", "Done."]
    assert contents(key, 0) == line
    assert contents(key) == ["One?", "Aside"]
    joined = list(chat.join(last["message_id"]))
    assert (joined[0].data, joined[-1].data) == (start, last)
    chat.regenerate(last["message_id"])
    assert shown(scripted) == line[:5]


def test_an_applications_calls_and_results_belong_to_its_answer(chat, scripted, key):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = [
        MessageDraft(role="user", content="Do it"),
        MessageDraft(role="assistant", tool_calls=[call]),
        MessageDraft(role="tool", content="done", tool_call_id="c1"),
        MessageDraft(role="assistant", content="It is done."),
    ]
    rows, _ = append_drafts(conversation_id=key, drafts=said, access=SCRIPT)
    chat.regenerate(rows[3]["id"])
    assert shown(scripted)[-1] == "Do it"
    assert following(rows[0]["id"]) == ["", "Hello from the scripted provider."]


def test_a_system_message_before_the_answer_stays_before_it(chat, scripted, key):
    said = [
        MessageDraft(role="user", content="Hi"),
        MessageDraft(role="system", content="Be kind."),
        MessageDraft(role="assistant", content="Hello."),
    ]
    rows, _ = append_drafts(conversation_id=key, drafts=said, access=SCRIPT)
    events = list(chat.stream_again(rows[2]["id"]))
    assert shown(scripted)[-2:] == ["Hi", "Be kind."]
    assert events[0].data["user_message_id"] == str(rows[0]["id"])
    assert following(rows[1]["id"]) == ["Hello.", "Hello from the scripted provider."]


# One turn at a time, and its end


def test_a_running_answer_is_not_given_again(chat, scripted, talk, key):
    gate = threading.Event()
    scripted.script(says("3", gate, "a"))
    stream = iter(chat.stream("Three?", conversation_id=key))
    running = next(stream).data["message_id"]
    for named in (running, talk[1]["message_id"]):
        assert refusal(chat.regenerate(named)) == (409, "conversation_id", "turn_running")
    edited = chat.ask("Deux?", conversation_id=key, parent_id=talk[0]["message_id"])
    assert refusal(edited) == (409, "conversation_id", "turn_running")
    gate.set()
    list(stream)
    assert not Branch.objects.exists()
    assert chat.regenerate(running).status == 200


def test_of_two_at_once_one_wins(chat, scripted, talk):
    gate, barrier = threading.Event(), threading.Barrier(6)
    scripted.always(says("b", gate))

    def again():
        barrier.wait()
        answer = chat.regenerate(talk[1]["message_id"])
        return answer.status if answer.status == 200 else refusal(answer)

    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(again) for _ in range(6)]
        wait_until(lambda: sum(answer.done() for answer in answers) == 5)
        gate.set()
        found = [answer.result() for answer in answers]
    assert found.count(200) == 1
    assert found.count((409, "conversation_id", "turn_running")) == 5
    assert Branch.objects.count() == 2
    assert Message.objects.count() == 5


def test_it_is_stopped_and_joined_as_any_turn(chat, scripted, talk, key):
    scripted.script(says("2", "b", threading.Event()))
    stream = iter(chat.stream_again(talk[1]["message_id"]))
    seen = [next(stream)]
    while text_of(seen) != "2b":
        seen.append(next(stream))
    start = seen[0].data
    follower = iter(chat.join(start["message_id"]))
    assert next(follower).data == start
    chat.stop(start["message_id"])
    last = list(stream)[-1]
    assert (last.name, last.data["status"], last.data["response"]) == ("done", "stopped", "2b")
    assert list(follower)[-1].data == last.data
    stored = Message.objects.get(id=start["message_id"])
    assert (stored.content, stored.status, stored.branch) == ("2b", "stopped", 1)
    assert stored.extra["request"] == {"regenerate": talk[1]["message_id"]}
    assert contents(key) == ["One?", "1a", "Two?", "2b"]


def test_a_failed_and_a_stopped_answer_can(chat, scripted):
    scripted.script(breaks(), says("At last."))
    failed = chat.ask("Hi").body
    assert chat.regenerate(failed["message_id"]).body["response"] == "At last."
    assert shown(scripted) == ["Hi"]


def test_whatever_several_clients_do_the_model_is_shown_the_path_before_its_answer(
    chat, scripted, talk, key
):
    numbers, shown_before = count(1), {}

    async def answer(exchange):
        text = f"answer {next(numbers)}"
        shown_before[text] = [content for _, content in exchange.request.messages]
        await says(text)(exchange)

    scripted.always(answer)
    with ThreadPoolExecutor(3) as pool:
        for asked in [pool.submit(ask_anywhere, chat, key, Random(seed)) for seed in range(3)]:
            asked.result()
    assert len(shown_before) == 3 * 6
    for text, before in shown_before.items():
        path = contents(key, number_of(Message.objects.get(content=text).branch))
        assert path[: path.index(text)] == before


def ask_anywhere(chat, key, random):
    """Ask six times after any message, or for any answer again, and change the active branch."""
    try:
        answered = 0
        while answered < 6:
            message = random.choice(list(Message.objects.filter(conversation_id=key)))
            activate_branch(conversation_id=key, number=number_of(message.branch), access=SCRIPT)
            if message.role == "assistant" and random.random() < 0.5:
                answer = chat.regenerate(message.id)
            else:
                place = random.choice([{}, {"parent_id": "root"}, {"parent_id": str(message.id)}])
                answer = chat.ask(f"{random.random()}?", conversation_id=key, **place)
            assert answer.status == 200 or refusal(answer)[2] == "turn_running"
            answered += answer.status == 200
    finally:
        connection.close()
