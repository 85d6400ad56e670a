"""A thousand open streams of one process with two threads."""

import resource
import threading

import pytest

from conversations.tests.chat.clients import text_of
from conversations.tests.chat.scripted_behaviours import says
from conversations.tests.chat.servers import serving
from conversations.tests.factories import make_token, make_user
from conversations.tests.server.sockets import head, open_sockets, read_until

STREAMS = 1000
FILES = STREAMS + 500

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def _files():
    """As many open files as this process needs for its ends of the streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"a process may have {hard} open files here, and this test needs {FILES}")
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_files")
def test_a_thousand_clients_follow_an_answer(provider):
    token, gate = make_token(make_user("alice")), threading.Event()
    with serving(provider, threads=2) as server:
        client = server.client(token)
        client.ask()  # what only the first turn of a process waits for
        provider.script(says("Hello ", gate, "world"))
        first = iter(client.stream())
        start = next(first)
        join = head("GET", f"/api/chat/streams/{start.data['message_id']}", token)
        with open_sockets(server.url, STREAMS, join) as sockets:
            read_until(sockets, b'"Hello "')
            assert client.get("/healthz").status == 200
            assert client.get("/api/conversations").status == 200
            gate.set()
            ends = read_until(sockets, b"event: done")
        assert all(b'"response":"Hello world"' in end for end in ends.values())
        assert text_of([start, *first]) == "Hello world"
