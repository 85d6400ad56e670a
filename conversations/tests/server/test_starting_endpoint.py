"""A model that is slow to start holds up those that ask it, and nobody else."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from conversations.models import Message
from conversations.services.conversations import create_conversation
from conversations.tests.chat import starting_endpoint
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_provider import ScriptedProvider
from conversations.tests.chat.servers import serving
from conversations.tests.factories import make_token, make_user

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 4


@pytest.fixture
def owner(transactional_db):
    return make_user("alice")


@contextmanager
def starting(owner, folder, **environment):
    """A provider, the file that starts it, and the owner's client."""
    file = folder / "start"
    given = {"start": starting_endpoint.PATH, "model": "scripted"}
    environment |= {"CHAT_PROVIDER": "slow", "CHAT_PROVIDERS": json.dumps({"slow": given})}
    environment |= {starting_endpoint.FILE: str(file)}
    with (
        ScriptedProvider() as provider,
        serving(provider, threads=THREADS, **environment) as server,
    ):
        try:
            yield provider, file, server.client(make_token(owner))
        finally:
            if not file.exists():
                file.write_text("The test is over.")


def complete(client, text, chat, **headers):
    headers |= {"X-Conversation-Id": str(chat.pk)}
    body = {"model": "scripted", "messages": [{"role": "user", "content": text}]}
    with client.call("POST", "/v1/chat/completions", body, **headers) as reply:
        return reply.status, json.loads(reply.read())


def append(client, chat):
    body = {"role": "user", "content": "Meanwhile"}
    with client.call("POST", f"/api/conversations/{chat.pk}/messages", body) as reply:
        return reply.status


def test_turns_wait_for_a_start_without_a_thread_or_the_place_of_their_conversation(
    owner, tmp_path
):
    chat, other = (create_conversation(owner=owner)[0] for _ in range(2))
    with starting(owner, tmp_path) as (provider, file, client), ThreadPoolExecutor(20) as pool:
        title = pool.submit(complete, client, "A title?", chat, **{"X-Task": "title_generation"})
        asked = [pool.submit(complete, client, "Hi", chat)]
        asked += [pool.submit(client.ask) for _ in range(THREADS)]
        response = {"model": "scripted", "input": "Hi"}
        responding = pool.submit(client.call, "POST", "/v1/responses", response)
        wait_until(lambda: Message.objects.filter(status="streaming").count() == THREADS + 2)
        # More than there are threads wait; a write that they held up would be answered with 503.
        assert append(client, other) == 201
        assert append(client, chat) == 201
        assert not provider.chats
        file.write_text(provider.url)
        assert title.result()[0] == asked[0].result()[0] == responding.result().status == 200
        assert {one.result().status for one in asked[1:]} == {200}
    answers = Message.objects.filter(role="assistant")
    assert set(answers.values_list("status", flat=True)) == {"complete"}
    assert len(provider.chats) == THREADS + 3


def test_a_start_that_fails_ends_the_turns_that_wait_for_it(owner, tmp_path):
    with starting(owner, tmp_path) as (provider, file, client):
        file.write_text("In /secret/folder: no such library")
        answer = client.ask()
        (error,) = answer.body["errors"]
        assert (answer.status, error["code"]) == (502, "provider_unreachable")
        assert "secret" not in error["detail"]
        # The next turn starts it again.
        file.write_text(provider.url)
        assert client.ask().status == 200


def test_a_start_that_does_not_end_takes_no_longer_than_a_turn_may(owner, tmp_path):
    with starting(owner, tmp_path, CHAT_TURN_SECONDS="1") as (_, _, client):
        answer = client.ask()
        (error,) = answer.body["errors"]
        assert (answer.status, error["code"]) == (504, "provider_timeout")


def test_a_turn_is_stopped_while_its_model_starts(owner, tmp_path):
    with starting(owner, tmp_path) as (_, _, client):
        stream = client.stream()
        events = iter(stream)
        client.stop(next(events).data["message_id"])
        assert [event.data["status"] for event in events] == ["stopped"]
