"""The threads that do the database work of turns, and the connections that they keep."""

import asyncio

import pytest
from django.db import DatabaseError, connection

from conversations.chat.runtime import db_worker
from conversations.chat.runtime.db_worker import DatabaseWorker
from conversations.tests.chat.fixtures import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def session():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def fail():
    session()
    raise DatabaseError("no answer")


def is_open(number):
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [number])
        return cursor.fetchone()[0] == 1


def end(number):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [number])


@pytest.fixture
def run():
    worker = DatabaseWorker("test-database", threads=1)
    return lambda job: asyncio.run(worker.run(job))


def test_a_thread_keeps_its_connection_for_a_while(run, monkeypatch):
    monkeypatch.setattr(db_worker, "IDLE_SECONDS", 0.5)
    first = run(session)
    assert run(session) == first
    wait_until(lambda: not is_open(first), 10)


def test_a_connection_that_the_database_has_ended_is_made_again(run, monkeypatch):
    monkeypatch.setattr(db_worker, "IDLE_SECONDS", 0.5)
    first = run(session)
    end(first)
    second = run(session)
    assert second != first
    wait_until(lambda: not is_open(second), 10)


def test_after_a_failed_job_the_next_one_has_a_new_connection(run, monkeypatch):
    monkeypatch.setattr(db_worker, "IDLE_SECONDS", 0.5)
    first = run(session)
    with pytest.raises(DatabaseError):
        run(fail)
    assert run(session) != first
    wait_until(lambda: not is_open(first), 10)


@pytest.mark.parametrize("seconds", [0, None])
def test_no_connection_is_kept_longer_than_the_setting_says(run, monkeypatch, seconds):
    monkeypatch.setattr(db_worker, "IDLE_SECONDS", 0.5)
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", seconds)
    sessions = {run(session), run(session)}
    assert (len(sessions) == 1) is (seconds is None)
    wait_until(lambda: not any(map(is_open, sessions)), 10)
