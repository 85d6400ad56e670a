"""A replica that ends, hangs, lags or is none any more: no request fails, and none reads it."""

import logging
import threading
import time

import pytest
from django.db import DatabaseError, ProgrammingError, connection, connections
from django.db.utils import OperationalError

from conversations.db import replica_servers, replicas, time_limits, write_positions
from conversations.db.compiled import CompiledSelect
from conversations.db.replica_servers import RETRY_SECONDS, Replica, _State
from conversations.db.replica_servers import replica as known
from conversations.db.write_positions import Required, read_required
from conversations.models import AccessRecord, Conversation, Message
from conversations.services import export_conversations
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.factories import (
    access_of,
    client_for,
    make_conversation,
    make_staff,
)
from conversations.tests.replicas.conftest import ALIAS, change_on_primary, join_asking
from conversations.tests.standby import primary_rows, standby_of

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/api/conversations"
ON_REPLICA = "SELECT pg_is_in_recovery()"


@pytest.fixture
def reading(replica, alice):
    """As within a request that reads Alice's data."""
    replica.catch_up()
    with replicas.request_scope():
        replicas.allow_reads()
        replicas.reads_of(alice.pk)
        yield


def answer_of(sql, *values):
    with replicas.read_connection().cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]


def read_there():
    """Read on the replica, once it is known: on a busy machine it may have been found away a moment
    ago, and is then asked again after RETRY_SECONDS."""

    def is_read():
        replicas.reads_of(0)
        return answer_of(ON_REPLICA)

    wait_until(is_read)


def meanwhile(act, until):
    """Act once a session on the replica runs a statement that begins so."""

    def wait():
        while not until():
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def runs(standby, beginning):
    sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s"
    return lambda: standby.rows(sql, beginning + "%") != [(0,)]


SLOW = "SELECT pg_is_in_recovery() FROM pg_sleep(0.5)"


@pytest.mark.parametrize("how", ["pg_terminate_backend", "pg_cancel_backend"])
def test_a_statement_that_is_ended_midway_runs_again_on_the_primary(replica, reading, how):
    read_there()
    end = f"SELECT {how}(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_is_in%%sleep%%'"
    thread = meanwhile(lambda: replica.rows(end), runs(replica, SLOW))
    assert answer_of(SLOW) is False
    thread.join()
    assert answer_of(ON_REPLICA) is False, "the rest of the request reads the primary"


def test_a_statement_whose_server_is_killed_runs_again_on_the_primary(replica, reading):
    read_there()
    thread = meanwhile(replica.kill, runs(replica, SLOW))
    assert answer_of(SLOW) is False
    thread.join()


def test_a_statement_whose_server_stops_runs_again_on_the_primary(replica, reading):
    read_there()
    thread = meanwhile(replica.stop, runs(replica, SLOW))
    assert answer_of(SLOW) is False
    thread.join()


def test_a_query_that_conflicts_with_what_is_replayed_runs_again_on_the_primary(
    replica, reading, chat
):
    """`canceling statement due to conflict with recovery`: here with an exclusive lock."""
    replica.catch_up()
    read_there()
    sql = "SELECT pg_is_in_recovery() FROM conversations_conversation, pg_sleep(1)"

    def lock():
        primary = connection.copy()
        with primary.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE conversations_conversation; COMMIT")
        primary.close()

    replica.rows("ALTER SYSTEM SET max_standby_streaming_delay = 0")
    replica.rows("SELECT pg_reload_conf()")
    try:
        thread = meanwhile(lock, runs(replica, sql))
        assert answer_of(sql) is False
        thread.join()
    finally:
        replica.rows("ALTER SYSTEM RESET max_standby_streaming_delay")
        replica.rows("SELECT pg_reload_conf()")


def test_a_fault_of_the_statement_itself_is_raised(replica, reading):
    read_there()
    with pytest.raises(ProgrammingError, match="no_such_table"):
        answer_of("SELECT * FROM no_such_table")
    # And keeps the replica from nobody.
    assert not known(ALIAS)._away


def test_values_are_read_alike_after_the_fall_back(replica, reading, alice, chat):
    """UUIDs as text, JSON as it is stored."""
    select = CompiledSelect(Conversation.objects.owned_by(alice.pk), ["id", "metadata", "title"])
    replica.catch_up()
    read_there()
    there = select.fetch({})
    terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    replica.rows(terminate, connection.settings_dict["NAME"])
    here = select.fetch({})
    assert answer_of(ON_REPLICA) is False
    assert [type(value) for value in here[0].values()] == [
        type(value) for value in there[0].values()
    ]
    assert (here[0]["id"], here[0]["title"]) == (str(chat.pk), chat.title)


def test_the_orm_falls_back_too(replica, reading, chat):
    replica.catch_up()
    read_there()
    replica.kill()
    assert [one.title for one in Conversation.objects.all()] == [chat.title]
    assert Message.objects.count() == 1


def test_a_frozen_replica_costs_a_request_some_seconds_and_the_next_ones_nothing(
    replica, alice, chat, caplog
):
    client = client_for(alice)
    client.get(LIST)
    replica.freeze()
    began = time.monotonic()
    assert client.get(LIST).status_code == 200
    assert time.monotonic() - began < 10
    assert "replica_1 is not read until it is back" in caplog.text
    began = time.monotonic()
    assert client.get(LIST).status_code == 200
    assert time.monotonic() - began < RETRY_SECONDS / 2
    replica.thaw()


def test_a_statement_of_a_server_that_freezes_midway_is_broken_off(replica, reading, monkeypatch):
    monkeypatch.setattr("conversations.db.replica_backend.base.STATEMENT_SECONDS", 1.0)
    read_there()
    thread = meanwhile(replica.freeze, runs(replica, SLOW))
    assert answer_of(SLOW) is False
    thread.join()


def test_requests_go_on_without_a_replica_and_a_log_line_tells_when_it_goes_and_returns(
    replica, alice, chat, caplog, monkeypatch
):
    caplog.set_level(logging.INFO)
    client = client_for(alice)
    client.get(LIST)
    replica.kill()
    for _ in range(5):
        assert client.get(LIST).status_code == 200
    assert client.get("/readyz").status_code == 200
    lines = [record.message for record in caplog.records if record.name.endswith("replica_servers")]
    assert len(lines) == 1
    assert lines[0].startswith("replica_1 is not read until it is back: ")
    replica.start()
    monkeypatch.setattr(known(ALIAS), "_retry_at", 0.0)
    assert client.get(LIST).status_code == 200
    join_asking()
    lines = [record.message for record in caplog.records if record.name.endswith("replica_servers")]
    assert lines[1:] == ["replica_1 is read again"]


def test_a_replica_that_restarted_between_two_requests_is_read_at_once(replica, alice, chat):
    client = client_for(alice)
    client.get(LIST)
    connections[ALIAS].ensure_connection()
    replica.kill()
    replica.start()
    client.get(LIST)
    assert not known(ALIAS)._away


def test_a_replica_that_is_away_is_asked_now_and_then_by_a_thread_of_its_own(replica, monkeypatch):
    asked = []

    def fail(self):
        asked.append(threading.current_thread().name)
        raise OperationalError("no")

    monkeypatch.setattr(Replica, "_ask", fail)
    made, required = Replica(ALIAS), Required("00000001", 0, 0)
    assert not made.has(required)
    assert not made.has(required)
    assert len(asked) == 1
    made._retry_at = 0.0
    for _ in range(8):
        assert not made.has(required)
    join_asking()
    assert len(asked) == 2
    assert threading.current_thread().name not in asked[1:], "a request has waited for it"


def test_a_staff_read_is_recorded_once_though_it_is_read_again(replica, alice, chat):
    client = client_for(make_staff())
    path = f"{LIST}/{chat.pk}/messages"
    client.get(path)
    replica.kill()
    assert client.get(path).status_code == 200
    assert AccessRecord.objects.count() == 2


def test_an_export_goes_on_when_its_replica_ends(replica, alice, monkeypatch):
    monkeypatch.setattr("conversations.services.export_batches.BATCH", 5)
    for _ in range(20):
        make_conversation(alice, messages=2)
    replica.catch_up()
    given = {"file_format": "openai", "access": access_of(make_staff(), reader=True)}
    whole = "".join(export_conversations(conversations=Conversation.objects.all(), **given))
    replica.catch_up()
    chunks = export_conversations(conversations=Conversation.objects.all(), **given)
    first = next(chunks)
    assert connections[ALIAS].connection is not None, "it was not read on the replica"
    replica.kill()
    assert first + "".join(chunks) == whole


def test_a_replica_that_lags_is_passed_over(replica, alice, chat, settings, monkeypatch, caplog):
    """Nobody wrote through the application: an age alone tells it."""
    settings.DATABASE_REPLICA_MAX_LAG_SECONDS = 15
    client = client_for(alice)
    client.get(LIST)
    change_on_primary(replica)
    moment = time.monotonic()
    for seconds in (0, 8, 16):
        monkeypatch.setattr(write_positions.time, "monotonic", lambda at=moment + seconds: at)
        body = client.get(LIST).content.decode()
    assert "as the primary has it" in body
    assert "replica_1 is not read until it is back: it lags" in caplog.text


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (_State(False, "00000001", 5), replica_servers.STANDBY),
        (
            _State(True, "00000001", 5),
            "it follows timeline 00000001 and the primary is on 00000002",
        ),
    ],
)
def test_a_server_that_does_not_follow_the_primary_is_not_read(monkeypatch, caplog, state, text):
    """One that was promoted itself, and one that stayed behind when another was."""
    monkeypatch.setattr(Replica, "_ask", lambda self: state)
    assert not Replica("default").has(Required("00000002", 0, 0))
    assert text in caplog.text


def test_a_promoted_standby_is_not_read(server, replica, alice, chat, caplog):
    """A real one, whose data is its own from now on."""
    with standby_of(server, "promoted") as promoted:
        promoted.catch_up()
        promoted.rows("SELECT pg_promote()")
        required = read_required(alice.pk)
        connections[ALIAS].close()
        connections[ALIAS].settings_dict["PORT"] = promoted.port
        assert not known(ALIAS).has(required)
        assert replica_servers.STANDBY in caplog.text
        connections[ALIAS].close()
    assert primary_rows(server, ON_REPLICA) == [(False,)]


def test_where_the_primary_has_become_a_standby_no_replica_is_read(replica):
    assert write_positions.required(None, None, 5) is None
    reading = replicas.Reading()
    reading.require(None)
    assert reading.alias == "default"


def test_a_time_limit_leaves_what_ends_in_time_alone(replica):
    with connections[ALIAS].cursor() as cursor:
        raw = cursor.cursor.connection
        with time_limits.at_most(5, raw), raw.cursor() as own:
            own.execute("SELECT 1")
            assert own.fetchone() == (1,)
        assert not time_limits._running
        with (
            pytest.raises(DatabaseError),
            connections[ALIAS].wrap_database_errors,
            time_limits.at_most(0.2, raw),
            raw.cursor() as own,
        ):
            own.execute("SELECT pg_sleep(60)")
