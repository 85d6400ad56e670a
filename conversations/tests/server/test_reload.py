"""SIGHUP replaces the processes of a running server: no request fails, and answers go on."""

import http.client
import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from conversations.models import Message
from conversations.services.conversations import create_conversation
from conversations.tests.api.test_chat_processes import read_until
from conversations.tests.chat.clients import names_of, text_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import says
from conversations.tests.chat.servers import serving
from conversations.tests.factories import make_token, make_user

pytestmark = pytest.mark.django_db(transaction=True)

CLIENTS = 8
WORDS = [f"word{number} " for number in range(30)]


@pytest.fixture
def owner(transactional_db):
    return make_user("alice")


@pytest.fixture
def token(owner):
    return make_token(owner)


def reload(server):
    """All processes of before are about to go, and others are there."""
    before = set(server.workers)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(set(server.workers) - before) == len(before))


def has_only(server, count):
    wait_until(lambda: len(server.workers) == count)


def test_no_request_of_a_client_that_keeps_its_connection_fails(provider, owner, token):
    chat, _ = create_conversation(owner=owner)
    where, over = f"/api/conversations/{chat.pk}/messages", threading.Event()
    body = json.dumps({"role": "user", "content": "Hello"})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask_again_and_again():
        """A failure is raised here: nothing is sent twice."""
        connection, statuses = http.client.HTTPConnection(host, timeout=60), []
        while not over.is_set():
            for request in (("POST", where, body), ("GET", f"{where}?page_size=5", None)):
                connection.request(*request, headers)
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
        return statuses

    with serving(provider, workers=2, threads=4) as server, ThreadPoolExecutor(CLIENTS) as pool:
        host = server.url.removeprefix("http://")
        asking = [pool.submit(ask_again_and_again) for _ in range(CLIENTS)]
        try:
            for _ in range(3):
                reload(server)
                has_only(server, 2)
        finally:
            over.set()
        statuses = [status for one in asking for status in one.result()]
    assert set(statuses) == {200, 201}
    stored = Message.objects.filter(conversation=chat).order_by("sequence")
    assert [one.sequence for one in stored] == list(range(1, statuses.count(201) + 1))


def test_an_event_source_goes_on_at_the_next_process(provider, token):
    gate = threading.Event()
    with serving(provider) as server:
        client = server.client(token)
        provider.script(says(*WORDS[:3], gate, *WORDS[3:], pause=0.02))
        stream = client.ask_stream()
        seen = read_until(stream, "".join(WORDS[:3]))
        reload(server)
        seen += list(stream)  # it is ended by the server, in the middle of the answer
        assert names_of(seen) == ["start", "delta"]
        # As a browser does: the same URL and the last event's id.
        rest = client.ask_stream(last=seen[-1].id)
        gate.set()
        came = list(rest)
        assert names_of(came) == ["delta", "done"]
        assert text_of(seen) + text_of(came) == "".join(WORDS) == came[-1].data["response"]
        has_only(server, 1)  # the old process has ended after its turn
    assert Message.objects.get(id=seen[0].data["message_id"]).status == "complete"
    assert len(provider.chats) == 1


def test_answers_that_no_browser_resumes_are_finished_by_the_old_process(provider, token):
    gate = threading.Event()
    with serving(provider) as server, ThreadPoolExecutor() as pool:
        client = server.client(token)
        client.ask()  # what only the first turn of a process waits for
        provider.always(says("a", gate, "b"))
        stream = client.stream()
        seen = read_until(stream, "a")
        whole = pool.submit(client.ask)
        provider.wait_for(lambda: provider.running == 2, 60)
        reload(server)
        assert client.get("/api/conversations").status == 200
        gate.set()
        assert whole.result().body["response"] == "ab"
        assert text_of([*seen, *stream]) == "ab"
        has_only(server, 1)


def test_a_turn_without_clients_is_finished_by_the_old_process(provider, token):
    gate = threading.Event()
    with serving(provider) as server:
        client = server.client(token)
        provider.script(says("a", gate, "b"))
        stream = client.stream()
        start = read_until(stream, "a")[0].data
        stream.close()
        reload(server)
        gate.set()
        has_only(server, 1)
    stored = Message.objects.get(id=start["message_id"])
    assert (stored.status, stored.content) == ("complete", "ab")
