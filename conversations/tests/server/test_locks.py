"""Writers that wait for the lock of a row leave threads for everybody else."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connection, transaction

from conversations.models import Conversation, Message
from conversations.services.conversations import create_conversation
from conversations.tests.chat.scripted_provider import ScriptedProvider
from conversations.tests.chat.servers import serving
from conversations.tests.factories import make_token, make_user

pytestmark = pytest.mark.django_db(transaction=True)

WRITERS = 40


@pytest.fixture(scope="module")
def server(django_db_setup):
    with ScriptedProvider() as provider, serving(provider, threads=4) as server:
        yield server


@pytest.fixture
def owner(transactional_db):
    return make_user("alice")


@pytest.fixture
def client(server, owner):
    return server.client(make_token(owner))


@contextmanager
def locked(conversations):
    """Their rows, by a transaction from outside."""
    held, done = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            ids = [one.pk for one in conversations]
            list(Conversation.objects.filter(pk__in=ids).select_for_update())
            held.set()
            done.wait()
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


def append(client, conversation, number):
    where = f"/api/conversations/{conversation.pk}/messages"
    with client.call("POST", where, {"role": "user", "content": f"Message {number}"}) as reply:
        return reply.status, reply.headers, json.loads(reply.read())


def assert_all_or_nothing(answers, conversation):
    """What was acknowledged is there, in one order; the rest may be sent again."""
    assert {status for status, *_ in answers} <= {201, 503}
    assert all(headers["Retry-After"] for status, headers, _ in answers if status == 503)
    stored = Message.objects.filter(conversation=conversation).order_by("sequence")
    acknowledged = {body["id"] for status, _, body in answers if status == 201}
    assert {str(message.id) for message in stored} == acknowledged
    assert [message.sequence for message in stored] == list(range(1, len(acknowledged) + 1))


def test_one_locked_conversation(client, owner):
    chat, other = (create_conversation(owner=owner)[0] for _ in range(2))
    with ThreadPoolExecutor(WRITERS) as pool:
        with locked([chat]):
            writing = [pool.submit(append, client, chat, number) for number in range(WRITERS)]
            for number in range(20):
                assert client.get("/healthz").status == 200
                assert client.get("/api/conversations").status == 200
                assert append(client, other, number)[0] == 201
            assert not [one for one in writing if one.done() and one.result()[0] != 503]
        assert_all_or_nothing([one.result() for one in writing], chat)


def test_a_locked_conversation_that_a_question_names(client, owner):
    chat, other = (create_conversation(owner=owner)[0] for _ in range(2))
    with ThreadPoolExecutor(WRITERS) as pool, locked([chat]):
        asking = [
            pool.submit(client.ask, "Hi", conversation_id=str(chat.pk)) for _ in range(WRITERS)
        ]
        for number in range(5):
            assert append(client, other, number)[0] == 201
        assert {one.result().status for one in asking} == {503}
    assert not Message.objects.filter(conversation=chat).exists()


def test_many_locked_conversations_leave_a_thread_for_reads(client, owner):
    chats = [create_conversation(owner=owner)[0] for _ in range(10)]
    with ThreadPoolExecutor(WRITERS) as pool:
        with locked(chats):
            writing = [
                (chat, pool.submit(append, client, chat, number))
                for number in range(4)
                for chat in chats
            ]
            for _ in range(20):
                assert client.get("/healthz").status == client.get("/readyz").status == 200
                assert client.get("/api/conversations").status == 200
        for chat in chats:
            assert_all_or_nothing([one.result() for to, one in writing if to == chat], chat)
