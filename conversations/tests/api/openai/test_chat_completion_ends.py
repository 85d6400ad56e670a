"""How an answer ends that has one client: with it, with its provider, or with its process."""

import json
import os
import signal
import socket
import threading
import time
from itertools import islice

import openai
import pytest

from conversations.models import Message, Status, UnstoredTurn
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import Chunk, hangs, says
from conversations.tests.chat.servers import serving

from .forwarding import *  # noqa: F403
from .forwarding import client_of, says_hi, stored, stream

pytestmark = pytest.mark.django_db(transaction=True)


def read_until(chunks, text):
    seen = ""
    for chunk in chunks:
        seen += "".join(choice.delta.content or "" for choice in chunk.choices)
        if seen == text:
            return
    raise AssertionError(seen)


def ended():
    """Whether there are answers, and none runs any more."""
    statuses = set(Message.objects.filter(role="assistant").values_list("status", flat=True))
    return bool(statuses) and Status.STREAMING not in statuses


def test_a_client_that_leaves_a_stream_ends_the_answer(sdk, provider):
    provider.script(says("a", "b", threading.Event()))
    chunks = stream(sdk)
    read_until(chunks, "ab")
    chunks.close()
    left_at = time.monotonic()
    provider.wait_for(lambda: provider.chats[0].outcome == "left")
    wait_until(ended)
    assert time.monotonic() - left_at < 3
    row = stored()
    assert (row.status, row.finish_reason, row.content) == ("stopped", "stopped", "ab")


def test_a_client_that_leaves_before_the_first_chunk_ends_it_too(server, token, provider):
    for streams in (True, False):
        provider.script(hangs())
        connection = send(server, token, stream=streams)
        provider.wait_for(lambda: len(provider.chats) == 1 + (not streams))  # noqa: B023
        connection.close()
        provider.wait_for(lambda: provider.chats[-1].outcome == "left")
        wait_until(ended)
    rows = Message.objects.filter(role="assistant")
    assert [(row.status, row.content) for row in rows] == [("stopped", "")] * 2


def test_a_client_that_leaves_without_a_record_is_counted(sdk, provider):
    provider.script(says("a", "b", threading.Event()))
    chunks = stream(sdk, store=False)
    read_until(chunks, "ab")
    chunks.close()
    wait_until(lambda: UnstoredTurn.objects.exists())
    assert UnstoredTurn.objects.get().status == "stopped"


def test_who_only_watches_does_not_end_it(sdk, server, token, provider):
    gate = threading.Event()
    provider.script(says("a", "b", gate, "c"))
    chunks = stream(sdk)
    read_until(chunks, "ab")
    watching = server.client(token).join(stored().id)
    seen = [event.name for event in islice(watching, 2)]
    assert seen == ["start", "delta"]
    watching.close()
    time.sleep(1)
    gate.set()
    read_until(chunks, "c")
    assert next(chunks).choices[0].finish_reason == "stop"
    list(chunks)
    assert (stored().status, stored().content) == ("complete", "abc")


def test_a_stop_ends_it_for_its_client_too(sdk, server, token, provider):
    provider.script(says("a", "b", threading.Event()))
    chunks = stream(sdk)
    read_until(chunks, "ab")
    assert server.client(token).stop(stored().id).body["status"] in ("stopping", "stopped")
    (last,) = chunks
    assert last.choices[0].finish_reason == "stop"
    assert (stored().status, stored().content) == ("stopped", "ab")
    provider.wait_for(lambda: provider.chats[0].outcome == "left")


def test_a_stop_ends_an_answer_that_comes_whole(sdk, server, token, provider):
    provider.script(hangs())
    found = []
    asking = threading.Thread(
        target=lambda: found.append(
            sdk.chat.completions.create(model="scripted", messages=says_hi())
        )
    )
    asking.start()
    provider.wait_for(lambda: provider.chats)
    server.client(token).stop(stored().id)
    asking.join(20)
    (answer,) = found
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("", "stop")
    assert stored().status == "stopped"


def test_a_process_that_is_killed_leaves_what_had_come(provider, token, server):
    with serving(provider) as doomed, client_of(doomed, token) as client:
        provider.script(says("a", "b", threading.Event()))
        chunks = stream(client)
        read_until(chunks, "ab")
        wait_until(lambda: stored().content == "ab")
        doomed.kill()
        with pytest.raises((openai.APIError, Exception)):
            list(chunks)
        wait_until(lambda: stored().status == "interrupted", 30)
    assert stored().content == "ab"


def test_a_process_that_is_told_to_end_ends_its_streams(provider, token):
    with serving(provider) as server, client_of(server, token) as client:
        provider.script(says("a", "b", threading.Event()))
        chunks = stream(client)
        read_until(chunks, "ab")
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(openai.APIError) as error:
            list(chunks)
        server.process.wait(20)
    assert error.value.code == "interrupted"
    assert (stored().status, stored().content) == ("interrupted", "ab")


def test_a_reload_waits_for_the_stream(provider, token):
    gate = threading.Event()
    with serving(provider) as server, client_of(server, token) as client:
        provider.script(says("a", "b", gate, "c"))
        chunks = stream(client)
        read_until(chunks, "ab")
        before = server.workers
        os.kill(server.process.pid, signal.SIGHUP)
        wait_until(lambda: set(server.workers) - set(before))
        time.sleep(1.5)
        gate.set()
        read_until(chunks, "c")
        list(chunks)
    assert (stored().status, stored().content) == ("complete", "abc")


def test_a_client_that_does_not_read_holds_up_its_provider(server, token, provider):
    """And not the memory of the server."""
    padding, count = {"padding": "x" * 10_000}, 3_000
    sent = []

    async def behave(exchange):
        await exchange.begin()
        for _ in range(count):
            await exchange.piece(Chunk({"content": "x"}, {}, padding))
            sent.append(1)
        await exchange.chunk({}, "stop")
        await exchange.end()

    provider.script(behave)
    with send(server, token, stream=True) as connection:
        wait_until(lambda: sent)
        held = -1
        while held != len(sent):
            held = len(sent)
            time.sleep(1)
        assert held < count
        received = 0
        while data := connection.recv(1 << 20):
            received += len(data)
            if data.endswith(b"0\r\n\r\n"):
                break
    assert received > count * 10_000
    wait_until(ended)
    assert (stored().status, stored().content) == ("complete", "x" * count)


def send(server, token, **options):
    """A request for a completion, on a connection of which nothing is read."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    connection.settimeout(60)
    connection.connect((host, int(port)))
    body = json.dumps({"model": "scripted", "messages": says_hi()} | options).encode()
    head = [
        "POST /v1/chat/completions HTTP/1.1",
        f"Host: {host}",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
    return connection
