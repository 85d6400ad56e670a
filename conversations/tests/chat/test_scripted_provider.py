"""The scripted provider behaves as told, seen through the client that the application uses."""

import asyncio
import threading

import openai
import pytest

from .scripted_behaviours import (
    SECRET,
    Call,
    breaks,
    calls,
    drops,
    ends_early,
    fails_midway,
    garbles,
    hangs,
    rate_limited,
    says,
    says_json,
    unauthorized,
)
from .scripted_provider import ScriptedProvider, refusing_url, structured

SCHEMA = {"type": "json_schema", "json_schema": {"name": "mode", "schema": {"type": "object"}}}


@pytest.fixture
def provider():
    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
def client(provider):
    with client_of(provider.url) as client:
        yield client


def client_of(url, **options):
    return openai.OpenAI(base_url=url, api_key="key", max_retries=0, **options)


def ask(client, text="Hello", **options):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="some-model", messages=messages, **options)


def deltas_of(stream):
    return [choice.delta for chunk in stream for choice in chunk.choices]


def texts_of(stream):
    return [delta.content for delta in deltas_of(stream) if delta.content]


def test_answers_whole_and_streamed_with_usage_where_it_is_asked_for(provider, client):
    provider.script(*[says("Hel", 0.01, "lo")] * 3)
    answer = ask(client, "one two three")
    assert (answer.choices[0].message.content, answer.usage.prompt_tokens) == ("Hello", 3)
    assert all(chunk.usage is None for chunk in ask(client, stream=True))
    *chunks, last = ask(client, stream=True, stream_options={"include_usage": True})
    assert (last.choices, last.usage.completion_tokens) == ([], 2)
    assert texts_of(chunks) == ["Hel", "lo"]
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"


def test_records_what_was_sent(provider, client):
    tool = {"type": "function", "function": {"name": "add_task", "parameters": {}}}
    ask(client, "hi", tools=[tool])
    assert ask(client).choices[0].message.content == "Hello from the scripted provider."
    first, _ = provider.chats
    assert first.messages == [("user", "hi")]
    assert (first.tools, first.schema, first.streams) == (["add_task"], None, False)
    assert first.headers["authorization"] == "Bearer key"
    provider.wait_for(lambda: [one.outcome for one in provider.chats] == ["answered"] * 2)


def test_calls_tools_with_arguments_in_pieces(provider, client):
    call = Call("add_task", {"title": "milk"}, id="call_a")
    provider.script(calls(call, Call("list_tasks"), text="One moment.")).always(calls(call))
    deltas = deltas_of(ask(client, stream=True))
    parts = [part for delta in deltas for part in delta.tool_calls or []]
    names = {part.function.name: part.id for part in parts if part.function.name}
    assert list(names) == ["add_task", "list_tasks"]
    assert names["add_task"] == "call_a"
    assert names["list_tasks"].startswith("call_")
    arguments = [part.function.arguments for part in parts if part.index == 0]
    assert len(arguments) == 4
    assert "".join(arguments) == '{"title": "milk"}'
    for _ in range(3):  # for ever
        message = ask(client).choices[0].message
        assert message.tool_calls[0].function.arguments == '{"title": "milk"}'


def test_answers_structured_requests_beside_the_script(provider, client):
    provider.script(says("text")).when(structured, says_json({"mode": "sales"}))
    text = ask(client, response_format=SCHEMA).choices[0].message.content
    assert text == '{"mode": "sales"}'
    assert ask(client).choices[0].message.content == "text"
    assert [one.schema for one in provider.chats] == ["mode", None]


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (unauthorized(), openai.AuthenticationError),
        (rate_limited(3), openai.RateLimitError),
        (breaks(), openai.InternalServerError),
    ],
)
def test_refuses(provider, client, behaviour, error):
    provider.script(behaviour)
    with pytest.raises(error, match=SECRET) as caught:
        ask(client)
    if error is openai.RateLimitError:
        assert caught.value.response.headers["retry-after"] == "3"


def test_wants_its_key(provider, client):
    provider.key = "another"
    with pytest.raises(openai.AuthenticationError):
        ask(client)


@pytest.mark.parametrize("behaviour", [drops, garbles, fails_midway])
def test_breaks_in_mid_answer(provider, client, behaviour):
    provider.script(behaviour("a", "b"))
    got = []
    with pytest.raises(Exception, match=r".") as caught:  # noqa: PT012
        for chunk in ask(client, stream=True):
            got += texts_of([chunk])
    assert got == ["a", "b"]
    assert not isinstance(caught.value, AssertionError)


def test_ends_without_a_finish_reason(provider, client):
    provider.script(ends_early("a"))
    choices = [chunk.choices[0] for chunk in ask(client, stream=True)]
    assert [choice.finish_reason for choice in choices] == [None, None]


def test_hangs_until_the_client_leaves(provider):
    provider.script(hangs(), hangs("a"))
    with client_of(provider.url, timeout=0.1) as client:
        with pytest.raises(openai.APITimeoutError):
            ask(client)
        stream = ask(client, stream=True)
        next(iter(stream))
        assert provider.running
        stream.close()
    provider.wait_for(lambda: [one.outcome for one in provider.chats] == ["left", "left"])


def test_an_event_holds_the_answer(provider, client):
    gate = threading.Event()
    provider.script(says("a", gate, "b"))
    with ask(client, stream=True) as stream:
        chunks = iter(stream)
        assert texts_of([next(chunks), next(chunks)]) == ["a"]
        assert provider.running == 1
        gate.set()
        assert texts_of(chunks) == ["b"]


def test_refuses_connections():
    with refusing_url() as url, client_of(url) as client, pytest.raises(openai.APIConnectionError):
        ask(client)


def test_embeds_alike_what_is_alike(client):
    inputs = ["the cat sat", "the cat sat down", "rates of interest"]
    made = client.embeddings.create(model="e", input=inputs).data  # as base64
    plain = client.embeddings.create(model="e", input=inputs[0], encoding_format="float").data
    cat, longer, other = (one.embedding for one in made)
    assert cat == pytest.approx(plain[0].embedding, abs=1e-6)
    assert product(cat, cat) == pytest.approx(1.0, abs=1e-6)
    assert product(cat, longer) > 0.8 > 0.4 > product(cat, other)
    assert [model.id for model in client.models.list()] == ["scripted"]


def product(left, right):
    return sum(one * other for one, other in zip(left, right, strict=True))


def test_holds_200_streams_at_once(provider):
    gate = threading.Event()
    provider.always(says("a", gate, "b", pause=0.05))

    async def read(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = b'{"stream": true, "messages": []}'
        head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        reply = await reader.read()
        writer.close()
        await writer.wait_closed()
        return reply.count(b'"content": "')

    async def all_at_once():
        readers = [asyncio.ensure_future(read(port)) for _ in range(200)]
        await asyncio.to_thread(provider.wait_for, lambda: provider.running == 200)
        gate.set()
        return await asyncio.gather(*readers)

    port = int(provider.url.split(":")[2].split("/")[0])
    assert asyncio.run(all_at_once()) == [3] * 200
