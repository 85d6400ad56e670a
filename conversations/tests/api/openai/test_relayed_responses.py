"""OpenAI's SDK, strict, against `/v1/responses` of a provider that speaks it itself."""

import threading

import openai
import pytest

from conversations.models import Message, Status
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import SECRET, rate_limited, streams
from conversations.tests.chat.scripted_responses import (
    breaks_off,
    called,
    errs,
    responds,
    said,
    searched,
    thought,
)

from .response_clients import *  # noqa: F403
from .response_clients import WEATHER

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("relaying")]


def test_the_request_is_passed_on_without_the_state(client, provider):
    provider.script(responds(said("Hel", "lo.")), responds(said("More.")))
    tools = [WEATHER, {"type": "web_search"}]
    first = client.responses.create(
        model="scripted/m", input="Hi", tools=tools, extra_body={"top_k": 5}, metadata={"a": "b"}
    )
    assert first.output_text == "Hello."
    client.responses.create(model="m", input="And?", previous_response_id=first.id)
    one, two = [request.body for request in provider.responses]
    assert one["input"] == [{"type": "message", "role": "user", "content": "Hi"}]
    assert (one["model"], one["store"], one["stream"], one["top_k"]) == ("m", False, True, 5)
    assert [tool["type"] for tool in one["tools"]] == ["function", "web_search"]
    assert "previous_response_id" not in two
    assert [(item["role"], item["type"]) for item in two["input"]] == [
        *(("user", "message"), ("assistant", "message"), ("user", "message"))
    ]
    assert two["input"][1]["content"][0]["text"] == "Hello."


def test_the_events_are_the_providers_with_our_ids(client, provider):
    provider.script(responds(thought("Hm.", "secret"), searched("weather"), said("Sun", "ny.")))
    with client.responses.stream(model="m", input="Hi") as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert "response.web_search_call.searching" in kinds
    assert "response.reasoning_summary_text.delta" in kinds
    answer = Message.objects.get(role="assistant")
    assert {event.response.id for event in events if hasattr(event, "response")} == {
        f"resp_{answer.id.hex}"
    }
    ids = [f"{prefix}_{answer.id.hex}" for prefix in ("rs", "ws", "msg")]
    assert [e.item.id for e in events if e.type == "response.output_item.done"] == ids
    assert {e.item_id for e in events if hasattr(e, "item_id")} == set(ids)
    assert [item.id for item in final.output] == ids
    numbers = [event.sequence_number for event in events]
    assert numbers == list(range(len(events)))
    read = client.responses.retrieve(final.id)
    assert [item.id for item in read.output] == ids
    assert read.output[0].encrypted_content == "secret"
    assert read.output[1].action.query == "weather"
    assert read.output_text == "Sunny."


def test_what_is_recorded_is_read_over_the_api(client, rest, provider):
    provider.script(responds(thought("Hm."), said("Sunny.")))
    response = client.responses.create(model="m", input="Hi")
    answer = Message.objects.get(role="assistant")
    assert (answer.content, answer.status, answer.finish_reason) == ("Sunny.", "complete", "stop")
    assert (answer.prompt_tokens, answer.cached_tokens, answer.reasoning_tokens) == (11, 4, 2)
    assert [part["type"] for part in answer.parts] == ["reasoning", "message"]
    assert response.usage.input_tokens_details.cached_tokens == 4
    shown = rest.messages(answer.conversation_id)[1]
    assert shown["content"] == "Sunny."


@pytest.mark.parametrize("by_reference", [False, True])
def test_reasoning_goes_back_to_the_provider_by_its_own_id(client, provider, by_reference):
    provider.script(
        responds(thought("Hm.", "secret"), thought("Unreadable."), said("Sunny.")),
        responds(said("More.")),
    )
    first = client.responses.create(model="m", input="Hi")
    if by_reference:
        answer = [{"type": "item_reference", "id": item.id} for item in first.output]
        users = [{"role": "user", "content": text} for text in ("Hi", "And?")]
        second = client.responses.create(model="m", input=[users[0], *answer, users[1]])
        assert second.conversation == first.conversation
        assert Message.objects.count() == 4
    else:
        client.responses.create(model="m", input="And?", previous_response_id=first.id)
    sent = provider.responses[1].body["input"]
    kinds = [item.get("type", "message") for item in sent]
    assert kinds == ["message", "reasoning", "message", "message"]
    assert sent[1]["id"].startswith("rs_upstream")
    assert "provider_id" not in sent[1]


def test_a_tool_is_called_and_its_output_answered(client, provider):
    provider.script(responds(called("weather", '{"city": "Rome"}')), responds(said("Warm.")))
    with client.responses.stream(model="m", input="The weather?", tools=[WEATHER]) as stream:
        first = stream.get_final_response()
    [call] = first.output
    assert (call.name, call.arguments, call.call_id) == ("weather", '{"city": "Rome"}', "call_1")
    answer = Message.objects.get(role="assistant")
    assert answer.tool_calls[0]["function"]["name"] == "weather"
    assert answer.finish_reason == "tool_calls"
    assert call.id == f"fc_{answer.id.hex}"
    output = {"type": "function_call_output", "call_id": "call_1", "output": "warm"}
    second = client.responses.create(
        model="m", input=[output], previous_response_id=first.id, tools=[WEATHER]
    )
    assert second.output_text == "Warm."
    kinds = [item["type"] for item in provider.responses[1].body["input"]]
    assert kinds == ["message", "function_call", "function_call_output"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_answers_whole_is_streamed_too(client, provider, stream):
    provider.script(responds(said("Hello."), whole=True))
    if stream:
        events = list(client.responses.create(model="m", input="Hi", stream=True))
        assert events[0].type == "response.created"
        response = events[-1].response
    else:
        response = client.responses.create(model="m", input="Hi")
    assert response.output_text == "Hello."


def test_an_incomplete_answer_says_why(client, provider):
    provider.script(responds(said("Hal"), status="incomplete", reason="max_output_tokens"))
    response = client.responses.create(model="m", input="Hi")
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize(
    "behaviour",
    [
        breaks_off(said("Hal")),
        errs(said("Hal")),
        responds(said("Hal"), status="failed", error={"code": "server_error", "message": SECRET}),
    ],
)
def test_a_provider_that_breaks_off_ends_the_stream_as_failed(client, provider, behaviour):
    provider.script(behaviour)
    events = list(client.responses.create(model="m", input="Hi", stream=True))
    assert events[-1].type == "response.failed"
    assert SECRET not in events[-1].response.error.message
    answer = Message.objects.get(role="assistant")
    assert (answer.status, answer.content) == (Status.FAILED, "Hal")
    read = client.responses.retrieve(f"resp_{answer.id.hex}")
    assert (read.status, read.output_text) == ("failed", "Hal")


def test_a_provider_that_refuses_is_an_error_of_http(client, provider):
    provider.script(rate_limited())
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model="m", input="Hi", stream=True)


def test_one_in_the_background_is_followed(client, provider):
    go = threading.Event()
    provider.script(responds(searched("weather"), said("Sun", go, "ny.")))
    response = client.responses.create(model="m", input="Hi", background=True)
    provider.wait_for(lambda: provider.responses)
    assert "background" not in provider.responses[0].body
    wait_until(lambda: client.responses.retrieve(response.id).output_text == "Sun")
    stream = client.responses.retrieve(response.id, stream=True)
    seen = []
    for event in stream:
        seen.append(event)
        if event.type == "response.output_text.delta":
            go.set()
    assert "".join(e.delta for e in seen if e.type.endswith("text.delta")) == "Sunny."
    assert [e.item.type for e in seen if e.type == "response.output_item.done"] == [
        *("web_search_call", "message")
    ]
    assert seen[-1].type == "response.completed"


def ends_with(*items, **more):
    return streams({"type": "response.completed", "response": {"output": items} | more})


CALL = {"type": "function_call", "call_id": ["x"], "name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    "behaviour",
    [
        streams({"no": "type"}),
        streams({"type": ["response.completed"]}),
        streams({"type": "a\nevent: b\ndata: {}\n"}),
        streams({"type": "\ud800"}),
        ends_with(CALL),
    ],
)
def test_events_of_no_known_form_are_a_failure_of_the_provider(client, provider, behaviour):
    provider.script(behaviour)
    with pytest.raises(openai.InternalServerError) as error:
        client.responses.create(model="m", input="Hi", stream=True)
    assert error.value.status_code == 502
    assert Message.objects.get(role="assistant").finish_reason == "provider_unreadable"


def test_what_the_database_cannot_hold_costs_no_word_of_the_answer(client, provider):
    text = "Nul\x00 and half \ud800 of a pair"
    message = said(text).item | {"\x00": [{"\ud800": float("inf")}]}
    provider.script(
        streams(
            {"type": "response.output_item.added", "output_index": 0, "item": message},
            {"type": "response.output_text.delta", "output_index": 0, "delta": text},
            {
                "type": "response.completed",
                "response": {"output": [message, {"type": {}}], "usage": [1]}
                | {"incomplete_details": {"reason": ["x"]}},
            },
        )
    )
    response = client.responses.create(model="m", input="Hi", stream=False)
    assert response.output_text == "Nul and half ? of a pair"
    answer = Message.objects.get(role="assistant")
    assert (answer.status, answer.content) == (Status.COMPLETE, response.output_text)
