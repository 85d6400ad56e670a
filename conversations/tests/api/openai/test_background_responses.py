"""Responses in the background: polled, followed, cancelled, by whichever process answers."""

import json
import threading

import openai
import pytest

from conversations.models import Message, Status
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import hangs, rate_limited, says
from conversations.tests.chat.scripted_provider import ScriptedProvider
from conversations.tests.chat.scripted_responses import responds, said, searched
from conversations.tests.chat.servers import serving

from .response_clients import *  # noqa: F403
from .response_clients import strict

pytestmark = pytest.mark.django_db(transaction=True)


def polled(client, response):
    def ended():
        return client.responses.retrieve(response.id).status not in ("queued", "in_progress")

    wait_until(ended)
    return client.responses.retrieve(response.id)


def test_it_answers_at_once_and_goes_on_alone(client, provider):
    go = threading.Event()
    provider.script(says("Hel", go, "lo."))
    response = client.responses.create(model="m", input="Hi", background=True)
    assert (response.status, response.background, response.output) == ("in_progress", True, [])
    go.set()
    read = polled(client, response)
    assert (read.status, read.output_text, read.background) == ("completed", "Hello.", True)


def test_a_failure_is_read(client, provider):
    provider.script(rate_limited())
    response = client.responses.create(model="m", input="Hi", background=True)
    read = polled(client, response)
    assert (read.status, read.error.code) == ("failed", "rate_limit_exceeded")


def test_it_is_cancelled(client, provider):
    provider.script(hangs("Hal"))
    response = client.responses.create(model="m", input="Hi", background=True)
    wait_until(lambda: client.responses.retrieve(response.id).output_text == "Hal")
    cancelled = client.responses.cancel(response.id)
    assert (cancelled.status, cancelled.output_text) == ("cancelled", "Hal")
    provider.wait_for(lambda: provider.chats[0].outcome == "left")
    assert client.responses.cancel(response.id).status == "cancelled"


def test_a_stream_is_left_and_taken_up_again(client, provider):
    go = threading.Event()
    provider.script(says("Hel", "lo", go, " you", " there."))
    seen = []
    with client.responses.create(model="m", input="Hi", background=True, stream=True) as stream:
        for event in stream:
            seen.append(event)
            if "".join(e.delta for e in seen if e.type.endswith("text.delta")) == "Hello":
                break
    go.set()
    last = seen[-1].sequence_number
    response_id = seen[0].response.id
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=last))
    assert rest[0].sequence_number > last
    texts = [event.delta for event in [*seen, *rest] if event.type.endswith("text.delta")]
    assert "".join(texts) == "Hello you there."
    assert rest[-1].type == "response.completed"
    # Also once it has ended.
    again = list(client.responses.retrieve(response_id, stream=True, starting_after=last))
    assert "".join(e.delta for e in again if e.type.endswith("text.delta")) == " you there."
    assert again[-1].sequence_number == rest[-1].sequence_number
    whole = list(client.responses.retrieve(response_id, stream=True))
    assert whole[0].type == "response.created"


def test_a_running_response_is_not_deleted(client, provider):
    provider.script(hangs("Hal"))
    response = client.responses.create(model="m", input="Hi", background=True)
    with pytest.raises(openai.ConflictError):
        client.responses.delete(response.id)
    client.responses.cancel(response.id)
    client.responses.delete(response.id)


@pytest.fixture(scope="module")
def shared(django_db_setup):
    """A provider, and two servers that ask it and share nothing but the database."""
    with ScriptedProvider() as provider, serving(provider) as one, serving(provider) as other:
        yield provider, one, other


@pytest.fixture
def two(shared, token):
    provider, *servers = shared
    with strict(servers[0].url, token) as one, strict(servers[1].url, token) as other:
        yield provider, one, other
    wait_until(lambda: not Message.objects.filter(status=Status.STREAMING).exists())
    provider.reset()


def test_another_process_follows_and_cancels_it(two):
    provider, one, other = two
    go = threading.Event()
    provider.script(says("Hel", go, "lo."), hangs("Hal"))
    first = one.responses.create(model="m", input="Hi", background=True)
    stream = other.responses.retrieve(first.id, stream=True)
    seen = []
    for event in stream:
        seen.append(event)
        go.set()
    assert "".join(e.delta for e in seen if e.type.endswith("text.delta")) == "Hello."
    assert seen[-1].response.output_text == "Hello."
    second = one.responses.create(model="m", input="Hi", background=True)
    wait_until(lambda: other.responses.retrieve(second.id).output_text == "Hal")
    assert other.responses.cancel(second.id).status == "cancelled"


def test_a_client_that_leaves_a_real_server_ends_its_answer(two):
    provider, one, _ = two
    provider.script(hangs("Hal"))
    stream = one.responses.create(model="m", input="Hi", stream=True)
    for event in stream:
        if event.type == "response.output_text.delta":
            break
    stream.close()
    wait_until(Message.objects.filter(status=Status.STOPPED, content="Hal").exists)
    provider.wait_for(lambda: provider.chats[0].outcome == "left")


def test_a_client_that_waits_for_all_and_leaves_ends_its_answer(two):
    provider, one, _ = two
    provider.script(hangs("Hal"))
    with pytest.raises(openai.APITimeoutError):
        one.with_options(timeout=2).responses.create(model="m", input="Hi")
    wait_until(Message.objects.filter(status=Status.STOPPED, content="Hal").exists)


def test_a_process_that_dies_leaves_a_failed_response(token):
    with ScriptedProvider() as provider, serving(provider) as server:
        provider.script(hangs("Hal"))
        with strict(server.url, token) as client:
            response = client.responses.create(model="m", input="Hi", background=True)
            wait_until(Message.objects.filter(content="Hal").exists)
        server.kill()
    with (
        ScriptedProvider() as provider,
        serving(provider) as server,
        strict(server.url, token) as client,
    ):
        read = polled(client, response)
    assert (read.status, read.output_text) == ("failed", "Hal")
    assert read.error.code == "server_error"


def test_a_client_that_leaves_ends_a_relayed_answer(token):
    never = threading.Event()
    with ScriptedProvider() as provider:
        provider.script(responds(searched("weather"), said("Hal", never)))
        known = {"base_url": provider.url, "model": "m", "api_key": "k", "responses": True}
        providers = json.dumps({"scripted": known})
        with serving(provider, CHAT_PROVIDERS=providers) as server:
            with strict(server.url, token) as client:
                stream = client.responses.create(model="m", input="Hi", stream=True)
                for event in stream:
                    if event.type == "response.output_text.delta":
                        break
                stream.close()
                wait_until(Message.objects.filter(status=Status.STOPPED).exists)
                answer = Message.objects.get(role="assistant")
                read = client.responses.retrieve(f"resp_{answer.id.hex}")
            provider.wait_for(lambda: provider.responses[0].outcome == "left")
    assert (answer.content, answer.parts[0]["type"]) == ("Hal", "web_search_call")
    assert [item.type for item in read.output] == ["web_search_call", "message"]
    assert (read.status, read.output[1].status) == ("cancelled", "incomplete")
