"""What a model thinks before it answers: streamed, stored, and read back from any position."""

import threading
import time

import pytest

from conversations.models import AccessContext, Message
from conversations.services import set_legal_hold
from conversations.tests.chat.clients import names_of, text_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import (
    Call,
    Chunk,
    calls,
    drops,
    ends_early,
    hangs,
    says,
    thinks,
)
from conversations.tests.chat.servers import serving
from conversations.tests.factories import make_token, make_user


def thought(events):
    return text_of(events, "reasoning")


def part(text):
    return {
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": text}],
    }


def details(*texts):
    return [
        Chunk({"reasoning_details": [{"type": "reasoning.text", "text": text, "index": 0}]})
        for text in texts
    ]


def blocks(*texts):
    return [Chunk({"thinking_blocks": [{"type": "thinking", "thinking": text}]}) for text in texts]


def under_both_names(*texts):
    return [Chunk({"reasoning": text, "reasoning_content": text}) for text in texts]


@pytest.mark.parametrize(
    "think",
    [
        thinks,
        lambda *texts: thinks(*texts, name="reasoning"),
        under_both_names,
        details,
        blocks,
    ],
)
def test_reasoning_is_streamed_and_stored_before_the_answer(chat, scripted, think):
    scripted.script(says(*think("Six by ", "seven."), "4", "2."))
    events = list(chat.stream("What is it?"))
    assert names_of(events) == ["start", "reasoning", "delta", "done"]
    assert (thought(events), text_of(events)) == ("Six by seven.", "42.")
    done = events[-1].data
    assert done["response"] == "42."
    answer = chat.messages(done["conversation_id"])[1]
    assert (answer["content"], answer["parts"]) == ("42.", [part("Six by seven.")])
    assert events[1].data["message_id"] == answer["id"]
    assert events[1].data["step"] == 1


def test_a_model_may_think_and_speak_by_turns(chat, scripted):
    gates = [threading.Event() for _ in range(4)]
    scripted.script(
        says(
            *thinks("a"),
            gates[0],
            "b",
            gates[1],
            *thinks("c"),
            gates[2],
            "d",
            gates[3],
            *thinks("e"),
        )
    )
    seen = []
    for event in chat.stream():
        seen.append(event)
        if event.name in ("reasoning", "delta") and gates:
            gates.pop(0).set()
    assert [event.data["text"] for event in seen[1:-1]] == ["a", "b", "c", "d", "e"]
    # Whoever takes up any of them gets the rest, from the rows too.
    for place, event in enumerate(seen[:-1]):
        rest = list(chat.join(seen[0].data["message_id"], last=event.id))
        whole = [*seen[: place + 1], *rest]
        assert (text_of(whole), thought(whole)) == ("bd", "ace")


def test_the_reasoning_of_each_step_stays_with_it(chat, scripted, settings):
    settings.CHAT_TOOLS = ["conversations.tests.chat.sample_tools.weather"]
    scripted.script(
        calls(
            Call("weather", {"city": "Rome"}), before=thinks("Look ", "it up."), text="One moment. "
        ),
        says(*thinks("It is sunny."), "Sunny."),
    )
    events = list(chat.stream("Weather?"))
    kinds = ["reasoning", "delta", "tool_call", "tool_result", "reasoning", "delta"]
    assert names_of(events) == ["start", *kinds, "done"]
    _, called, _, said = chat.messages(events[0].data["conversation_id"])
    assert (called["parts"], said["parts"]) == ([part("Look it up.")], [part("It is sunny.")])
    again = list(chat.join(called["id"]))
    assert names_of(again) == names_of(events)
    ids = {"message_id": called["id"], "step": 1}
    assert again[1].data == {"text": "Look it up."} | ids
    assert again[1].id == f"{called['id']}:1.0.0.11"
    # Earlier reasoning is not shown to the model in the next turn.
    chat.ask("Sure?", conversation_id=events[0].data["conversation_id"])
    assert "Look it up" not in repr(scripted.chats[-1].body)


def test_it_is_saved_while_the_model_thinks(chat, scripted):
    gate = threading.Event()
    scripted.script(says(*thinks("a", "b"), gate, *thinks("c"), "d"))
    stream = iter(chat.stream())
    answer = Message.objects.filter(id=next(stream).data["message_id"])
    wait_until(lambda: answer.get().parts == [part("ab")])
    assert answer.get().content == ""
    gate.set()
    list(stream)
    assert answer.get().parts == [part("abc")]


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (drops(*thinks("Hm")), "provider_broke_off"),
        (ends_early(*thinks("Hm")), "provider_broke_off"),
        (hangs(*thinks("Hm")), "provider_timeout"),
        (says(*thinks("Hm"), finish="length"), "empty_answer"),
        (says(*thinks("Hm")), "empty_answer"),
    ],
)
def test_what_it_thought_stays_where_no_answer_follows(chat, scripted, behaviour, code):
    scripted.script(behaviour)
    answer = chat.ask()
    assert answer.body["errors"][0]["code"] == code
    stored = Message.objects.get(id=answer.body["message_id"])
    assert (stored.status, stored.content, stored.parts) == ("failed", "", [part("Hm")])


def test_a_stop_keeps_it(chat, scripted):
    scripted.script(says(*thinks("Hm"), threading.Event()))
    seen = []
    for event in chat.stream():
        seen.append(event)
        if event.name == "reasoning":
            chat.stop(event.data["message_id"])
    assert (seen[-1].name, seen[-1].data["status"]) == ("done", "stopped")
    stored = Message.objects.get(id=seen[0].data["message_id"])
    assert (stored.status, stored.parts) == ("stopped", [part("Hm")])


def test_what_cannot_be_stored_is_taken_out(chat, scripted):
    scripted.script(says(*thinks("a\x00b\ud800"), "c"))
    events = list(chat.stream())
    assert thought(events) == "ab?"
    assert Message.objects.get(role="assistant").parts == [part("ab?")]


def test_a_running_answer_on_legal_hold_goes_on(chat, scripted):
    """Each write of a turn: as it is saved, at a call, at the end of a step and of the turn."""
    gate = threading.Event()
    usage = {"prompt_tokens_details": {"cached_tokens": 1}, "cost": 0.5}
    scripted.script(
        calls(Call("nope"), before=[*thinks("a"), Chunk({"refusal": None}, {}, {"seed": 7})]),
        says(*thinks("b"), "c", gate, *thinks("d"), "e", usage=usage),
    )
    stream = iter(chat.stream())
    start = next(stream).data
    script = AccessContext(None, reason="a case")
    set_legal_hold(conversation_id=start["conversation_id"], on_hold=True, access=script)
    running = Message.objects.filter(status="streaming")
    wait_until(lambda: (one := running.first()) and one.content == "c")
    gate.set()
    done = list(stream)[-1]
    assert (done.name, done.data["response"]) == ("done", "ce")
    said = Message.objects.get(id=done.data["message_id"])
    assert (said.parts, said.cached_tokens, str(said.cost)) == ([part("bd")], 1, "0.500000000000")
    assert Message.objects.get(id=start["message_id"]).extra["seed"] == 7


@pytest.mark.django_db(transaction=True)
def test_another_process_streams_it_from_its_rows(provider):
    """From the beginning, and from each place that a client of the first process has seen."""
    gate = threading.Event()
    provider.script(
        says(*thinks("Six ", "by "), "It ", *thinks("seven"), gate, *thinks("."), "is 42.")
    )
    token = make_token(make_user("alice"))
    with serving(provider) as first, serving(provider) as second:
        here, there = first.client(token), second.client(token)
        stream = iter(here.stream())
        seen = [next(stream)]
        while thought(seen) != "Six by seven" or text_of(seen) != "It ":
            seen.append(next(stream))
        answer = Message.objects.filter(id=seen[0].data["message_id"])
        wait_until(lambda: answer.get().parts == [part("Six by seven")])
        joined = [iter(there.join(answer.get().id, last=event.id)) for event in seen]
        # All of them stand at what is stored when the rest of it comes.
        time.sleep(0.7)
        gate.set()
        rests = [list(one) for one in joined]
        for place, rest in enumerate(rests):
            whole = [*seen[: place + 1], *rest]
            assert (thought(whole), text_of(whole)) == ("Six by seven.", "It is 42.")
            assert whole[-1].name == "done"
        list(stream)


@pytest.mark.django_db(transaction=True)
def test_what_a_killed_process_had_saved_of_it_stays(provider):
    provider.script(says(*thinks("Six ", "by "), threading.Event()))
    token = make_token(make_user("alice"))
    with serving(provider) as first, serving(provider) as second:
        start = next(iter(first.client(token).stream()))
        answer = Message.objects.filter(id=start.data["message_id"])
        wait_until(lambda: answer.get().parts == [part("Six by ")])
        first.kill_workers()
        events = list(second.client(token).join(start.data["message_id"]))
        assert (thought(events), events[-1].data["status"]) == ("Six by ", "interrupted")
        stored = answer.get()
        assert (stored.status, stored.parts) == ("interrupted", [part("Six by ")])
