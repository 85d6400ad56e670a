"""A model that streams all that models stream: what its client saw, what is stored, what a process
that builds it from rows tells, and what the next request to the model holds are the same."""

import base64
import json
import threading

import pytest

from conversations.models import Message
from conversations.tests.chat.clients import names_of, text_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import Call, Chunk, calls, says, thinks
from conversations.tests.chat.servers import serving
from conversations.tests.factories import make_token, make_user

pytestmark = pytest.mark.django_db(transaction=True)

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(50)).decode()
IMAGE = {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}}
CITED = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}
LOGPROB = {"token": "It", "logprob": -0.1, "bytes": [73], "top_logprobs": []}
USAGE = {
    "prompt_tokens": 300,
    "prompt_tokens_details": {"cached_tokens": 200},
    "completion_tokens_details": {"reasoning_tokens": 9},
    "cost": 0.000123,
}
COUNTS = {
    "prompt_tokens": 300,
    "cached_tokens": 200,
    "reasoning_tokens": 9,
    "cost": "0.000123",
}


def first_step():
    served = Chunk(beside={"system_fingerprint": "fp_1"})
    return calls(
        Call("weather", {"city": "Rome"}, id="c1"),
        Call("add_task", {"title": "umbrella"}, id="c2"),
        before=[*thinks("I see ", "a cloud."), served],
        text="Let me look. ",
        usage=USAGE,
    )


def second_step(gate):
    return says(
        *thinks("So it ", "is ", name="reasoning"),
        Chunk({"content": "It is "}, {"logprobs": {"content": [LOGPROB], "refusal": None}}),
        *thinks("sunny.", name="reasoning"),
        gate,
        "sunny.",
        Chunk({"annotations": [CITED]}),
        usage=USAGE,
    )


def stored_reasoning(row):
    return "".join(item["text"] for part in row["parts"] or () for item in part.get("content", ()))


def test_saw_stored_and_sent_again_are_equal(provider):
    gate = threading.Event()
    provider.script(first_step(), second_step(gate), says("You are welcome."))
    providers = {"scripted": {"base_url": provider.url, "model": "scripted", "vision": True}}
    environment = {
        "CHAT_PROVIDERS": json.dumps(providers),
        "CHAT_TOOLS": ",".join(
            f"conversations.tests.chat.sample_tools.{name}" for name in ("weather", "add_task")
        ),
    }
    token = make_token(make_user("alice"))
    with (
        serving(provider, **environment) as first,
        serving(provider, **environment) as second,
    ):
        here, there = first.client(token), second.client(token)
        stream = iter(here.stream("What is in the picture?", parts=[IMAGE]))
        seen = [next(stream)]
        stream_id = seen[0].data["message_id"]
        while text_of(seen) != "Let me look. It is ":
            seen.append(next(stream))
        # A client of another process joins while the model thinks on.
        running = Message.objects.filter(status="streaming")
        wait_until(lambda: "sunny." in json.dumps(running.get().parts))
        joined = iter(there.join(stream_id, last=seen[2].id))
        gate.set()
        seen += stream
        elsewhere = [*seen[:3], *joined]
        later = list(there.join(stream_id))
        rows = here.messages(seen[0].data["conversation_id"])
        conversation = seen[0].data["conversation_id"]
        assert here.ask("Thanks", conversation_id=conversation).status == 200

    # What was seen, wherever and whenever: the same.
    done = seen[-1].data
    assert names_of(seen)[-1] == "done"
    for events in (elsewhere, later):
        assert text_of(events) == text_of(seen) == done["response"] == "Let me look. It is sunny."
        assert text_of(events, "reasoning") == "I see a cloud.So it is sunny."
        assert events[-1].data == done
        for name in ("tool_call", "tool_result"):
            assert [(e.id, e.data) for e in events if e.name == name] == [
                (e.id, e.data) for e in seen if e.name == name
            ]

    # What is stored is what was seen.
    asked, called, *results, said = rows
    assert (asked["content"], asked["parts"]) == ("What is in the picture?", [IMAGE])
    assert called["content"] + said["content"] == done["response"]
    assert stored_reasoning(called) + stored_reasoning(said) == text_of(seen, "reasoning")
    told = [
        (e.data["tool_call_id"], e.data["tool"], e.data["arguments"])
        for e in seen
        if e.name == "tool_call"
    ]
    assert told == [
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in called["tool_calls"]
    ]
    assert {e.data["tool_call_id"] for e in seen if e.name == "tool_result"} == {
        row["tool_call_id"] for row in results
    }
    for row in (called, said):
        assert {name: row[name] for name in COUNTS} == COUNTS
    assert done["usage"] == {
        "prompt_tokens": 600,
        "completion_tokens": called["completion_tokens"] + said["completion_tokens"],
        "cached_tokens": 400,
        "reasoning_tokens": 18,
        "cost": "0.000246",
    }
    assert called["extra"]["system_fingerprint"] == "fp_1"
    assert said["extra"]["annotations"] == [CITED]
    assert said["extra"]["logprobs"] == {"content": [LOGPROB], "refusal": None}

    # What the model is sent in the next turn is what is stored.
    system, question, calling, *answers, answer, thanks = provider.chats[-1].body["messages"]
    assert question == {
        "role": "user",
        "content": [{"type": "text", "text": asked["content"]}, *asked["parts"]],
    }
    assert (calling["content"], calling["tool_calls"]) == (called["content"], called["tool_calls"])
    assert [(one["tool_call_id"], one["content"]) for one in answers] == [
        (row["tool_call_id"], row["content"])
        for row in sorted(results, key=lambda row: row["tool_call_id"])
    ]
    assert (answer["role"], answer["content"]) == ("assistant", said["content"])
    assert thanks == {"role": "user", "content": "Thanks"}
    assert system["role"] == "system"
    # Within the first turn it was the same.
    assert provider.chats[1].body["messages"][1:2] == [question]
