"""Many clients at the same moment, over real HTTP on a live server."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

import pytest
from django.db import connection

from conversations.models import Conversation, Message
from conversations.tests.factories import make_conversation, make_token, make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def post(live_server):
    token = make_token(make_user("alice"))

    def call(path, body=None, **headers):
        request = Request(
            live_server.url + path,
            data=None if body is None else json.dumps(body).encode(),
            method="POST",
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            | headers,
        )
        with urlopen(request) as answer:
            return answer.status, json.load(answer)

    return call


def at_once(count, call):
    """`call(index)` from `count` threads that start together."""
    gate = threading.Barrier(count)

    def run(index):
        gate.wait()
        try:
            return call(index)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_sixteen_writers_leave_no_gap_and_no_repeat(post):
    chat = post("/api/conversations", {})[1]["id"]
    path = f"/api/conversations/{chat}/messages"

    def write_fifty(writer):
        return [
            post(path, {"role": "user", "content": f"{writer}.{i}"})[1]["sequence"]
            for i in range(50)
        ]

    given = at_once(16, write_fifty)
    assert sorted(sum(given, [])) == list(range(1, 801))
    assert all(mine == sorted(mine) for mine in given)
    stored = Message.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(stored) == list(range(1, 801))
    assert Conversation.objects.get().message_count == 800


def test_equal_requests_at_the_same_moment_give_one_row_and_equal_answers(post):
    chat = post("/api/conversations", {})[1]["id"]
    path, body = f"/api/conversations/{chat}/messages", {"role": "user", "content": "once"}
    answers = at_once(8, lambda _: post(path, body, **{"Idempotency-Key": "k"}))
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    assert all(answer == answers[0][1] for _, answer in answers)
    assert Message.objects.count() == 1


def test_get_or_create_at_the_same_moment_gives_one_conversation(post):
    answers = at_once(8, lambda _: post("/api/conversations"))
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    assert len({answer["id"] for _, answer in answers}) == 1


def test_only_one_of_the_clients_that_saw_the_same_history_goes_on(post):
    chat = make_conversation(make_user("other"))
    assert chat.last_sequence == 0
    mine = post("/api/conversations", {})[1]["id"]
    path = f"/api/conversations/{mine}/messages"

    def append(index):
        body = {"role": "user", "content": str(index), "expected_last_sequence": 0}
        try:
            return post(path, body)[0]
        except OSError as error:
            return error.code

    assert sorted(at_once(6, append)) == [201] + [409] * 5
