"""Reads of several database sessions, and an export by them."""

import threading

import pytest
from django.db import connection

from conversations.db.read_ahead import read_ahead
from conversations.models import Conversation
from conversations.services import SCRIPT, export_batches
from conversations.services.export import export_conversations
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.factories import make_conversation, make_user

pytestmark = pytest.mark.django_db(transaction=True)


def session_of(_):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def open_sessions(pids):
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s)", [pids])
        return cursor.fetchone()[0]


def test_results_come_in_the_order_of_the_items_whichever_is_read_first():
    second_is_read = threading.Event()

    def read(number):
        if number == 0:
            assert second_is_read.wait(10)
        if number == 1:
            second_is_read.set()
        return number * 10

    assert list(read_ahead(range(5), read, sessions=2)) == [(n, n * 10) for n in range(5)]


def test_at_most_so_many_items_are_taken_ahead_of_their_use():
    taken = []

    def items():
        for number in range(10):
            taken.append(number)
            yield number

    results = read_ahead(items(), lambda number: number, sessions=3)
    next(results)
    assert taken == [0, 1, 2]
    results.close()


def test_one_session_is_the_callers_own():
    (result,) = read_ahead([0], session_of, sessions=1)
    assert result == (0, session_of(0))


def test_other_sessions_are_closed_at_the_end():
    pids = {pid for _, pid in read_ahead(range(8), session_of, sessions=2)}
    assert session_of(0) not in pids
    wait_until(lambda: open_sessions(list(pids)) == 0)


def test_other_sessions_are_closed_where_the_caller_stops_early():
    results = read_ahead(range(8), session_of, sessions=2)
    _, pid = next(results)
    results.close()
    wait_until(lambda: open_sessions([pid]) == 0)


def test_an_error_is_raised_in_the_place_of_its_result():
    def read(number):
        if number == 2:
            raise ValueError(number)
        return number

    results = read_ahead(range(4), read, sessions=2)
    assert [next(results), next(results)] == [(0, 0), (1, 1)]
    with pytest.raises(ValueError, match="2"):
        next(results)


@pytest.mark.parametrize("file_format", ["jsonl", "json", "markdown"])
def test_an_export_by_several_sessions_is_the_same_bytes(monkeypatch, file_format):
    monkeypatch.setattr(export_batches, "BATCH", 4)
    monkeypatch.setattr(export_batches, "WRITTEN_AT_ONCE", 7)
    owners = [make_user(f"user-{number}") for number in range(3)]
    for number in range(13):
        make_conversation(owners[number % 3], number % 5)

    def exported(jobs):
        rows = Conversation.objects.all() if file_format != "markdown" else _one()
        pieces = export_conversations(
            conversations=rows, file_format=file_format, access=SCRIPT, jobs=jobs
        )
        return "".join(pieces)

    assert exported(3) == exported(1)


def _one():
    return Conversation.objects.filter(pk=Conversation.objects.order_by("pk").last().pk)
