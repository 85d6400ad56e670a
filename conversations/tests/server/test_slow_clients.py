"""Clients that are slow, silent or gone hold no thread: others are answered meanwhile."""

import json
import threading
import time

import pytest
from django.contrib.auth.models import User

from conversations.models import Conversation, Message
from conversations.services.conversations import create_conversation
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import says
from conversations.tests.chat.scripted_provider import ScriptedProvider
from conversations.tests.chat.servers import serving
from conversations.tests.factories import make_token, make_user
from conversations.tests.server.sockets import connect, head, open_sockets, read_all, status_of

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 2
LIMITS = {"WEB_HEADER_SECONDS": "4", "WEB_BODY_SECONDS": "4", "CHAT_MAX_BODY_BYTES": "100000"}
LOGIN_FORM = b"username=admin&passw"


@pytest.fixture(scope="module")
def served(django_db_setup):
    """A provider, and one process with two threads that asks it."""
    with ScriptedProvider() as provider, serving(provider, threads=THREADS, **LIMITS) as server:
        yield provider, server


@pytest.fixture
def provider(served):
    yield served[0]
    served[0].reset()


@pytest.fixture
def server(served):
    return served[1]


@pytest.fixture
def client(server, transactional_db):
    return server.client(make_token(make_user("alice")))


def assert_serves(client):
    """Liveness, readiness, a list and an append."""
    assert client.get("/healthz").body == {"status": "ok"}
    assert client.get("/readyz").status == 200
    chat = client.call("POST", "/api/conversations", {"title": "Meanwhile"})
    where = f"/api/conversations/{json.loads(chat.read())['id']}/messages"
    assert client.call("POST", where, {"role": "user", "content": "Hello"}).status == 201
    assert client.get("/api/conversations").status == 200


def test_open_answers(client, provider):
    gate = threading.Event()
    client.ask()  # what only the first turn of a process waits for
    provider.always(says("a", gate, "b"))
    answers, streams = [], [client.stream() for _ in range(20)]
    waiting = [threading.Thread(target=lambda: answers.append(client.ask())) for _ in range(20)]
    for one in waiting:
        one.start()
    provider.wait_for(lambda: provider.running == 40, 60)
    assert_serves(client)
    gate.set()
    for one in waiting:
        one.join()
    assert [answer.body["response"] for answer in answers] == ["ab"] * 20
    assert {list(stream)[-1].data["response"] for stream in streams} == {"ab"}


def test_a_failed_turn_that_was_waited_for_answers_as_an_error(client, provider):
    provider.script(says("", ""))
    answer = client.ask()
    assert (answer.status, answer.body["errors"][0]["code"]) == (502, "empty_answer")
    assert answer.body["request_id"] == answer.headers["X-Request-ID"] != ""
    assert answer.body["message_id"]
    assert Message.objects.get(id=answer.body["message_id"]).status == "failed"


def test_half_heads_are_closed_in_time(server, client):
    with open_sockets(server.url, 36, b"POST /admin/login/ HTTP/1.1\r\nHost: 127") as sockets:
        assert_serves(client)
        assert [read_all(one) for one in sockets] == [b""] * 36


def test_connections_without_a_request_are_closed_in_time(server, client):
    with open_sockets(server.url, 36) as sockets:
        assert_serves(client)
        assert [read_all(one) for one in sockets] == [b""] * 36


@pytest.mark.parametrize("token", [None, "good"])
def test_half_bodies_are_answered_in_time(server, client, token):
    token = token and client.headers["Authorization"].split()[1]
    form = {"Content_Type": "application/x-www-form-urlencoded", "Content_Length": "900"}
    with open_sockets(server.url, 36, head("POST", "/admin/login/", token, **form)) as sockets:
        for one in sockets:
            one.sendall(LOGIN_FORM)
        assert_serves(client)
        answers = [read_all(one) for one in sockets]
    assert {status_of(answer) for answer in answers} == {408}
    assert all(b"connection: close" in answer.lower() for answer in answers)


def test_a_slow_body_of_the_api_is_refused_in_the_form_of_its_errors(server, client):
    with connect(server.url) as one:
        one.sendall(head("POST", "/api/conversations", Content_Length="9", X_Request_ID="mine"))
        answer = read_all(one)
    fields, _, body = answer.partition(b"\r\n\r\n")
    assert b"x-request-id: mine" in fields.lower()
    assert json.loads(body) == {
        "type": "client_error",
        "errors": [
            {
                "code": "request_timeout",
                "detail": "The body did not arrive in time.",
                "attr": None,
            }
        ],
        "request_id": "mine",
    }


def test_a_client_that_leaves_in_its_body_leaves_nothing(server, client):
    for _ in range(5):
        with connect(server.url) as one:
            token = client.headers["Authorization"].split()[1]
            one.sendall(head("POST", "/api/conversations", token, Content_Length="90") + b"{")
    assert_serves(client)
    assert Conversation.objects.count() == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(client, server, chunked):
    body = json.dumps({"title": "x" * 150_000}).encode()
    token = client.headers["Authorization"].split()[1]
    json_type = {"Content_Type": "application/json", "Connection": "close"}
    if chunked:
        start = head("POST", "/api/conversations", token, **json_type, Transfer_Encoding="chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        length = str(len(body))
        start = head("POST", "/api/conversations", token, **json_type, Content_Length=length)
    with connect(server.url) as one:
        one.sendall(start + body)
        answer = read_all(one)
    assert status_of(answer) == 413
    assert b"The body may be at most 100,000 bytes." in answer


def test_a_chunked_body_is_read(client, server):
    token = client.headers["Authorization"].split()[1]
    start = head(
        "POST",
        "/api/conversations",
        token,
        Content_Type="application/json",
        Transfer_Encoding="chunked",
        Connection="close",
    )
    with connect(server.url) as one:
        one.sendall(start)
        for piece in (b'{"title": "In ', b'pieces"}'):
            one.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            time.sleep(0.05)
        one.sendall(b"0\r\n\r\n")
        assert status_of(read_all(one)) == 201
    assert Conversation.objects.get().title == "In pieces"


def test_clients_that_do_not_read_a_long_answer(client, server):
    owner = User.objects.get()
    chat, _ = create_conversation(owner=owner)
    where = f"/api/conversations/{chat.pk}"
    for _ in range(40):
        body = {"role": "assistant", "content": "x" * 90_000}
        assert client.call("POST", f"{where}/messages", body).status == 201
    token = client.headers["Authorization"].split()[1]
    with open_sockets(server.url, 10, head("GET", where, token)):
        assert_serves(client)


@pytest.mark.parametrize("path", ["/%ff", "/api/%ff", "/api/conversations/%00", "/x?a=%ff"])
def test_a_path_that_is_no_text_is_refused_as_other_unknown_ones(client, server, path):
    with connect(server.url) as one:
        one.sendall(head("GET", path, Connection="close"))
        assert status_of(read_all(one)) in (302, 400, 401, 404)


def test_waits_that_were_left_make_room_at_once(provider, transactional_db):
    token = make_token(make_user("alice"))
    limits = {"WEB_STREAMS": "3"}
    with serving(provider, threads=THREADS, **limits) as server:
        client = server.client(token)
        client.ask()
        provider.always(says("a", threading.Event()))
        streams = [client.stream(), client.stream()]
        question = json.dumps({"message": "Hi"}).encode()
        ask = head("POST", "/api/chat", token, Content_Type="application/json", Content_Length="17")
        with connect(server.url) as one:
            one.sendall(ask + question)
            provider.wait_for(lambda: provider.running == 3)
            wait_until(lambda: client.get("/api/changes?wait=1").status == 503)
            refused = client.ask()
            assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
            assert refused.body["errors"][0]["detail"] == "The server has too many open streams."
            assert client.get("/api/conversations").status == 200
        # The client of JSON has left: the turn goes on, and there is room.
        wait_until(lambda: client.get("/api/changes?wait=1").status != 503)
        for stream in streams:
            stream.close()


def test_more_requests_than_allowed_are_refused(provider, transactional_db):
    token = make_token(make_user("alice"))
    with serving(provider, threads=THREADS, WEB_REQUESTS="5") as server:
        client = server.client(token)
        assert_serves(client)
        form = head("POST", "/admin/login/", Content_Length="900")
        with open_sockets(server.url, 5, form + LOGIN_FORM):
            wait_until(lambda: client.get("/api/conversations").status == 503)
            assert client.get("/api/conversations").headers["Retry-After"] == "1"
            assert client.get("/healthz").status == client.get("/readyz").status == 200
        wait_until(lambda: client.get("/api/conversations").status == 200)
