"""OpenAI's SDK, strict, against `/v1/responses` of a provider that speaks chat completions."""

import asyncio
import json

import openai
import pytest
from pydantic import BaseModel

from conversations.models import Conversation, Message
from conversations.tests.chat.scripted_behaviours import Call, calls, says, thinks

from .response_clients import *  # noqa: F403
from .response_clients import WEATHER, strict

pytestmark = pytest.mark.django_db(transaction=True)


def stored():
    rows = Message.objects.order_by("sequence")
    return list(rows.values_list("role", "content", "status"))


def names_of(events):
    names = []
    for event in events:
        if names[-1:] != [event.type]:
            names.append(event.type)
    return [name.removeprefix("response.") for name in names]


def test_a_text_is_answered_and_stored_in_a_new_conversation(client, provider):
    provider.script(says("Hel", "lo."))
    response = client.responses.create(model="scripted/m", input="Hi")
    assert response.output_text == "Hello."
    assert (response.status, response.model) == ("completed", "scripted/m")
    assert response.usage.output_tokens == 2
    assert response.usage.total_tokens == response.usage.input_tokens + 2
    assert stored() == [("user", "Hi", "complete"), ("assistant", "Hello.", "complete")]
    conversation = Conversation.objects.get()
    assert response.conversation.id == f"conv_{conversation.pk.hex}"
    answer = Message.objects.get(role="assistant")
    assert response.id == f"resp_{answer.id.hex}"
    assert response.output[0].id == f"msg_{answer.id.hex}"
    [asked] = provider.chats
    assert asked.body["model"] == "m"
    assert asked.messages == [("user", "Hi")]
    assert asked.body["stream_options"] == {"include_usage": True}


def test_the_header_names_the_conversation(client, provider):
    raw = client.responses.with_raw_response.create(model="m", input="Hi")
    assert raw.headers["x-conversation-id"] == raw.parse().conversation.id


def test_a_stream_tells_all_events(client, provider):
    provider.script(says(*thinks("Hm", "m."), "Hel", "lo."))
    with client.responses.stream(model="m", input="Hi") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert names_of(events) == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "reasoning_text.delta"),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        "completed",
    ]
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    assert final.output_text == "Hello."
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.output[0].content[0].text == "Hmm."


def test_what_was_streamed_is_what_is_read_back(client, provider):
    provider.script(says(*thinks("Hmm."), "Hello."))
    with client.responses.stream(model="m", input="Hi") as stream:
        final = stream.get_final_response()
    read = client.responses.retrieve(final.id)
    assert read.to_dict() == client.responses.retrieve(final.id).to_dict()
    assert [item.to_dict() for item in read.output] == [
        {key: value for key, value in item.to_dict().items() if key != "parsed"}
        | (
            {
                "content": [
                    {k: v for k, v in part.to_dict().items() if k != "parsed"}
                    for part in item.content
                ]
            }
        )
        for item in final.output
    ]
    assert (read.usage, read.created_at) == (final.usage, final.created_at)


def test_a_previous_response_is_gone_on_from(client, provider):
    provider.script(says("One."), says("Two."), says("Other."))
    first = client.responses.create(model="m", input="1", instructions="Be brief.")
    second = client.responses.create(model="m", input="2", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert second.conversation == first.conversation
    assert provider.chats[0].messages == [("system", "Be brief."), ("user", "1")]
    # Instructions are not carried over.
    assert provider.chats[1].messages == [("user", "1"), ("assistant", "One."), ("user", "2")]
    # A second answer to the first is a branch.
    other = client.responses.create(model="m", input="2b", previous_response_id=first.id)
    assert other.conversation == first.conversation
    assert provider.chats[2].messages == [("user", "1"), ("assistant", "One."), ("user", "2b")]
    assert Conversation.objects.get().branch_count == 2


def test_a_conversation_is_gone_on_from(client, provider):
    provider.script(says("One."), says("Two."))
    first = client.responses.create(model="m", input="1")
    second = client.responses.create(
        model="m", input="2", conversation={"id": first.conversation.id}
    )
    assert second.conversation.id == first.conversation.id
    assert provider.chats[1].messages == [("user", "1"), ("assistant", "One."), ("user", "2")]


def test_items_of_all_kinds_are_input(client, provider):
    image = "data:image/png;base64,iVBORw0KGgo="
    response = client.responses.create(
        model="m",
        input=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello."},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is it?"},
                    {"type": "input_image", "image_url": image, "detail": "low"},
                ],
            },
        ],
    )
    sent = provider.chats[0].body["messages"]
    assert [message["role"] for message in sent] == ["developer", "user", "assistant", "user"]
    assert sent[3]["content"][1] == {
        "type": "image_url",
        "image_url": {"url": image, "detail": "low"},
    }
    items = client.responses.input_items.list(response.id, order="asc").data
    assert [item.role for item in items] == ["developer", "user", "assistant", "user"]
    assert items[3].content[1].image_url == image


def test_input_items_are_listed_in_pages(client):
    texts = [str(number) for number in range(5)]
    given = [{"role": "user", "content": text} for text in texts]
    response = client.responses.create(model="m", input=given)
    for order, expected in (("asc", texts), ("desc", texts[::-1])):
        found = client.responses.input_items.list(response.id, limit=2, order=order)
        assert [item.content[0].text for item in found] == expected


def test_a_tool_is_called_and_its_output_answered(client, provider):
    provider.script(
        calls(Call("weather", {"city": "Rome"}, "call_a"), Call("weather", {"city": "Oslo"}, "b")),
        says("Warm and cold."),
    )
    tools = [WEATHER]
    first = client.responses.create(
        model="m", input="The weather?", tools=tools, tool_choice="required"
    )
    assert [(item.type, item.call_id, json.loads(item.arguments)) for item in first.output] == [
        ("function_call", "call_a", {"city": "Rome"}),
        ("function_call", "b", {"city": "Oslo"}),
    ]
    asked = provider.chats[0].body
    assert asked["tools"][0]["function"]["name"] == "weather"
    assert asked["tools"][0]["function"]["strict"] is True
    assert asked["tool_choice"] == "required"
    second = client.responses.create(
        model="m",
        previous_response_id=first.id,
        input=[
            {"type": "function_call_output", "call_id": "call_a", "output": "warm"},
            {"type": "function_call_output", "call_id": "b", "output": "cold"},
        ],
        tools=tools,
    )
    assert second.output_text == "Warm and cold."
    sent = provider.chats[1].body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["call_a", "b"]
    assert [message["content"] for message in sent[2:]] == ["warm", "cold"]
    rows = list(Message.objects.order_by("sequence").values_list("role", "tool_call_id"))
    assert [role for role, _ in rows] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [call_id for _, call_id in rows][2:4] == ["call_a", "b"]


def test_the_arguments_of_a_call_are_streamed(client, provider):
    arguments = {"city": "Rome", "days": "three"}
    provider.script(calls(Call("weather", arguments, "call_a"), pieces=5, pause=0.05))
    with client.responses.stream(model="m", input="The weather?", tools=[WEATHER]) as stream:
        events = list(stream)
    deltas = [event.delta for event in events if "arguments.delta" in event.type]
    assert json.loads("".join(deltas)) == arguments
    assert len(deltas) > 1
    done = [event for event in events if event.type == "response.output_item.done"]
    assert json.loads(done[0].item.arguments) == arguments
    assert events[-1].response.output[0].id == done[0].item.id


def test_calls_that_repeat_their_ids_are_told_apart(client, provider):
    for number in ("1", "2"):
        provider.script(calls(Call("weather", {"city": number}, "call_0")))
    first = client.responses.create(model="m", input="1", tools=[WEATHER])
    output = {"type": "function_call_output", "call_id": "call_0", "output": "warm"}
    second = client.responses.create(
        model="m", input=[output], previous_response_id=first.id, tools=[WEATHER]
    )
    client.responses.create(
        model="m", input=[output], previous_response_id=second.id, tools=[WEATHER]
    )
    sent = provider.chats[2].body["messages"]
    assert [message.get("tool_call_id") for message in sent if message["role"] == "tool"] == [
        "call_0",
        "call_0-2",
    ]


def test_a_custom_tool_is_a_function_for_the_model_and_text_for_the_client(client, provider):
    provider.script(calls(Call("shell", {"input": "ls -l"}, "call_a")), says("Two files."))
    tools = [{"type": "custom", "name": "shell", "description": "A shell."}]
    first = client.responses.create(model="m", input="Files?", tools=tools)
    assert (first.output[0].type, first.output[0].input) == ("custom_tool_call", "ls -l")
    assert provider.chats[0].tools == ["shell"]
    output = {"type": "custom_tool_call_output", "call_id": "call_a", "output": "a b"}
    second = client.responses.create(
        model="m", input=[output], previous_response_id=first.id, tools=tools
    )
    assert second.output_text == "Two files."
    sent = provider.chats[1].body["messages"]
    assert json.loads(sent[1]["tool_calls"][0]["function"]["arguments"]) == {"input": "ls -l"}
    assert sent[2]["content"] == "a b"


def test_an_answer_in_a_schema_is_parsed(client, provider):
    class Weather(BaseModel):
        city: str
        warm: bool

    provider.script(says('{"city": "Rome", ', '"warm": true}'))
    response = client.responses.parse(model="m", input="The weather?", text_format=Weather)
    assert response.output_parsed == Weather(city="Rome", warm=True)
    asked = provider.chats[0].body["response_format"]
    assert (asked["type"], asked["json_schema"]["name"]) == ("json_schema", "Weather")
    assert asked["json_schema"]["strict"] is True
    assert response.text.format.type == "json_schema"


def test_options_reach_the_model_and_are_repeated(client, provider):
    options = {
        "temperature": 0.2,
        "top_p": 0.9,
        "max_output_tokens": 77,
        "reasoning": {"effort": "low"},
        "metadata": {"ticket": "7"},
        "parallel_tool_calls": False,
        "tools": [WEATHER],
    }
    response = client.responses.create(model="m", input="Hi", extra_body={"top_k": 5}, **options)
    asked = provider.chats[0].body
    assert {name: asked[name] for name in ("temperature", "top_p", "max_tokens", "top_k")} == {
        "temperature": 0.2,
        "top_p": 0.9,
        "max_tokens": 77,
        "top_k": 5,
    }
    assert (asked["reasoning_effort"], asked["parallel_tool_calls"]) == ("low", False)
    assert "metadata" not in asked
    read = client.responses.retrieve(response.id)
    for one in (response, read):
        assert (one.temperature, one.max_output_tokens) == (0.2, 77)
        assert (one.metadata, one.reasoning.effort) == ({"ticket": "7"}, "low")
        assert one.tools[0].name == "weather"


def test_an_answer_without_room_is_incomplete(client, provider):
    provider.script(says("Half", finish="length"))
    response = client.responses.create(model="m", input="Hi")
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output_text == "Half"


def test_what_is_not_stored_leaves_counts_alone(client, provider):
    first = client.responses.create(model="m", input="1")
    provider.script(says("Secret."))
    response = client.responses.create(
        model="m", input="2", previous_response_id=first.id, store=False
    )
    assert (response.output_text, response.store, response.conversation) == ("Secret.", False, None)
    assert [message for message in provider.chats[1].messages if message[0] == "user"] == [
        ("user", "1"),
        ("user", "2"),
    ]
    assert Message.objects.count() == 2
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_deleted_response_is_gone_and_its_input_stays(client):
    response = client.responses.create(model="m", input="Hi")
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    assert stored() == [("user", "Hi", "complete")]


def test_a_repeated_request_asks_once(client, provider):
    key = {"Idempotency-Key": "k1"}
    first = client.responses.create(model="m", input="Hi", extra_headers=key)
    again = client.responses.create(model="m", input="Hi", extra_headers=key)
    assert again.id == first.id
    assert again.output_text == first.output_text
    with client.responses.stream(model="m", input="Hi", extra_headers=key) as stream:
        assert stream.get_final_response().id == first.id
    assert len(provider.chats) == 1
    with pytest.raises(openai.ConflictError):
        client.responses.create(model="m", input="Other", extra_headers=key)
    with pytest.raises(openai.ConflictError):
        client.responses.create(model="m", input="Hi", temperature=1, extra_headers=key)


def test_a_response_is_read_over_the_api_and_an_answer_of_the_api_as_a_response(
    client, rest, provider
):
    response = client.responses.create(model="m", input="Hi")
    conversation_id = Conversation.objects.get().pk
    messages = rest.messages(conversation_id)
    assert [message["role"] for message in messages] == ["user", "assistant"]
    provider.script(says("Of the API."))
    answered = rest.ask("And?", conversation_id=str(conversation_id)).body
    read = client.responses.retrieve(f"resp_{answered['message_id'].replace('-', '')}")
    assert read.output_text == "Of the API."
    assert read.conversation == response.conversation
    third = client.responses.create(model="m", input="More", previous_response_id=read.id)
    assert third.conversation == response.conversation


@pytest.mark.parametrize("named", [False, True])
def test_a_history_that_is_sent_again_is_stored_once(client, provider, named):
    provider.script(says("Hello."), says("More."), says("Other."))
    first = client.responses.create(model="m", input="Hi")
    headers = {"X-Conversation-Id": first.conversation.id} if named else {}
    history = [{"role": "user", "content": "Hi"}, *(item.to_dict() for item in first.output)]
    for text in ("And?", "Or?"):
        asked = [*history, {"role": "user", "content": text}]
        again = client.responses.create(model="m", input=asked, extra_headers=headers)
        assert again.conversation == first.conversation
    questions = Message.objects.filter(role="user").order_by("sequence")
    assert list(questions.values_list("content", flat=True)) == ["Hi", "And?", "Or?"]
    # The second question is another one in the place of the first.
    assert Conversation.objects.get().branch_count == 2
    assert provider.chats[2].messages == [("user", "Hi"), ("assistant", "Hello."), ("user", "Or?")]


@pytest.mark.parametrize("named", [False, True])
def test_a_history_with_references_to_its_answers_is_stored_once(client, provider, named):
    """As the AI SDK sends it: calls and results as they are, texts of answers by their ids."""
    provider.script(
        calls(Call("weather", {"city": "Rome"}, "call_1")), says("Sunny."), says("Good bye.")
    )
    headers = {"X-Conversation-Id": "order-1"} if named else {}
    history = [{"role": "user", "content": "The weather?"}]

    def ask():
        return client.responses.create(
            model="m", input=history, tools=[WEATHER], extra_headers=headers
        )

    (call,) = ask().output
    given = {name: getattr(call, name) for name in ("type", "call_id", "name", "arguments")}
    output = {"type": "function_call_output", "call_id": "call_1", "output": "Sun"}
    history += [given, output]
    (said,) = ask().output
    history += [{"type": "item_reference", "id": said.id}, {"role": "user", "content": "Bye"}]
    last = ask()
    assert last.output_text == "Good bye."
    assert provider.chats[2].messages[-2:] == [("assistant", "Sunny."), ("user", "Bye")]
    roles = [role for role, _, _ in stored()]
    assert roles == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert Conversation.objects.get().branch_count == 1


def test_a_reference_to_nothing_is_named(client):
    first = client.responses.create(model="m", input="Hi")
    numbered = f"{first.output[0].id}_7"
    for name in ("msg_abc", f"msg_{'0' * 32}", numbered):
        items = [{"type": "item_reference", "id": first.output[0].id}]
        items.append({"type": "item_reference", "id": name})
        with pytest.raises(openai.NotFoundError) as refused:
            client.responses.create(model="m", input=items)
        assert refused.value.param == "input[1].id"
    assert len(stored()) == 2


def test_the_async_client_does_the_same(scripted, token, live_server):
    async def ask():
        async with strict(live_server.url, token, openai.AsyncOpenAI) as client:
            first = await client.responses.create(model="m", input="Hi")
            async with client.responses.stream(
                model="m", input="More", previous_response_id=first.id
            ) as stream:
                async for _ in stream:
                    pass
                final = await stream.get_final_response()
            read = await client.responses.retrieve(final.id)
            return first.output_text, final.output_text, read.output_text

    assert len(set(asyncio.run(ask()))) == 1


def test_a_trusted_client_asks_for_its_users(trusted_client, provider):
    response = trusted_client.responses.create(
        model="m", input="Hi", extra_headers={"X-User-Id": "carla"}
    )
    assert Conversation.objects.get().user.username.endswith("carla")
    read = trusted_client.responses.retrieve(response.id)
    assert read.output_text == response.output_text
    with pytest.raises(openai.NotFoundError):
        trusted_client.responses.create(
            model="m",
            input="Hi",
            conversation=response.conversation.id,
            extra_headers={"X-User-Id": "dora"},
        )
