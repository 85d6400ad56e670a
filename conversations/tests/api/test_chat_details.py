"""What a model says of its answer beside the text: counts, cost, extras."""

import pytest

from conversations.models import Message
from conversations.tests.chat.clients import text_of
from conversations.tests.chat.scripted_behaviours import (
    Call,
    Chunk,
    calls,
    drops,
    says,
    thinks,
)

USAGE = {
    "prompt_tokens": 1_000,
    "completion_tokens": 500,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 300},
}
COUNTS = {
    "prompt_tokens": 1_000,
    "completion_tokens": 500,
    "cached_tokens": 400,
    "reasoning_tokens": 300,
}


@pytest.fixture
def prices(settings, scripted):
    settings.CHAT_PROVIDERS["scripted"]["prices"] = {
        "scripted": {"input": 0.15, "cached_input": 0.075, "output": 0.6}
    }


def test_counts_and_cost_are_told_and_stored(chat, scripted, prices):
    scripted.script(says(*thinks("Hm"), "Hello", usage=USAGE))
    body = chat.ask().body
    assert body["usage"] == COUNTS | {"cost": "0.00042"}
    answer = chat.messages(body["conversation_id"])[1]
    assert {name: answer[name] for name in body["usage"]} == body["usage"]
    again = list(chat.join(body["message_id"]))[-1].data
    assert again == body


def test_each_step_has_its_own_and_the_answer_the_sum(chat, scripted, prices, settings):
    settings.CHAT_TOOLS = ["conversations.tests.chat.sample_tools.weather"]
    costs = {"cost": 0.25, "prompt_tokens": 7}
    scripted.script(
        calls(Call("weather", {"city": "Rome"}), usage=USAGE), says("Sunny.", usage=costs)
    )
    body = chat.ask("Weather?").body
    assert body["usage"] == COUNTS | {
        "prompt_tokens": 1_007,
        "completion_tokens": 501,
        "cost": "0.25042",
    }
    _, called, _, said = chat.messages(body["conversation_id"])
    assert (called["cost"], said["cost"]) == ("0.00042", "0.25")
    assert (called["cached_tokens"], said["cached_tokens"]) == (400, None)


def test_what_has_no_column_is_kept_under_its_own_name(chat, scripted):
    cited = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}
    logprobs = {"content": [{"token": "Hi", "logprob": -0.1, "bytes": [72], "top_logprobs": []}]}
    scripted.script(
        says(
            Chunk({"content": "Hi"}, {"logprobs": logprobs}, {"system_fingerprint": "fp_1"}),
            Chunk({"annotations": [cited]}),
            Chunk({"provider_specific_fields": {"citations": [[1]]}}),
            Chunk({"audio": {"id": "a", "data": "QUJD"}}),
            usage={"queue_time": 0.5},
        )
    )
    body = chat.ask().body
    assert (body["response"], body["status"]) == ("Hi", "complete")
    extra = chat.messages(body["conversation_id"])[1]["extra"]
    assert extra.pop("id").startswith("chatcmpl-")
    assert extra.pop("usage")["queue_time"] == 0.5
    assert extra == {
        "logprobs": logprobs,
        "system_fingerprint": "fp_1",
        "annotations": [cited],
        "provider_specific_fields": {"citations": [[1]]},
        "audio": {"id": "a", "data": "QUJD"},
    }


def test_a_refusal_is_the_answer_and_named_as_such(chat, scripted):
    scripted.script(says(Chunk({"refusal": "I can"}), Chunk({"refusal": "not."})))
    events = list(chat.stream())
    assert text_of(events) == "I cannot."
    answer = chat.messages(events[0].data["conversation_id"])[1]
    assert (answer["content"], answer["extra"]["refusal"]) == ("I cannot.", "I cannot.")


def test_the_model_that_answered_is_named_where_it_is_another(chat, scripted):
    scripted.script(says(Chunk({"content": "Hi"}, {}, {"model": "scripted-2026"})))
    answer = Message.objects.get(id=chat.ask().body["message_id"])
    assert (answer.model, answer.extra["model"]) == ("scripted", "scripted-2026")


def test_what_came_of_a_broken_answer_is_kept(chat, scripted):
    usage = Chunk(beside={"usage": USAGE, "system_fingerprint": "fp_1"})
    scripted.script(drops("Hel", usage))
    stored = Message.objects.get(id=chat.ask().body["message_id"])
    assert (stored.status, stored.content, stored.cached_tokens) == ("failed", "Hel", 400)
    assert stored.extra["system_fingerprint"] == "fp_1"


def test_what_a_provider_miscounts_does_not_cost_the_answer(chat, scripted):
    odd = {"prompt_tokens": -5, "cost": "free", "prompt_tokens_details": [1]}
    scripted.script(says("Hello", usage=odd))
    body = chat.ask().body
    assert (body["status"], body["usage"]["prompt_tokens"], body["usage"]["cost"]) == (
        "complete",
        None,
        None,
    )
