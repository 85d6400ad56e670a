"""Many turns at once: all complete, and a model that talks holds no database connection."""

import statistics
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from conversations.management.serving import OTHER_CONNECTIONS
from conversations.models import Message
from conversations.tests.chat.clients import text_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import says
from conversations.tests.chat.servers import serving
from conversations.tests.factories import make_token, make_user
from conversations.tests.processes import environment_of

TURNS = 200
WORKERS = 2
THREADS = 4
DATABASE_THREADS = 2  # of each worker's turns
SAMPLES = 60
PATIENCE = 240  # seconds, on a busy machine

pytestmark = pytest.mark.django_db(transaction=True)


class Connections:
    """What others do on their connections to this database, sampled all the time."""

    def __enter__(self):
        self.samples, self._stop = [], threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _sample(self):
        with connection.cursor() as cursor:
            # Threads of tests before may have left theirs open.
            cursor.execute("SELECT clock_timestamp()")
            began = cursor.fetchone()[0]
            while not self._stop.wait(0.03):
                cursor.execute(
                    "SELECT state, query FROM pg_stat_activity WHERE datname = current_database()"
                    " AND backend_type = 'client backend' AND backend_start > %s",
                    [began],
                )
                self.samples.append(cursor.fetchall())
        connection.close()


def busy(sample):
    """The connections that are more than open."""
    return [state for state, _ in sample if state != "idle"]


def while_it_talks(connections):
    """The latest samples, once they show no more than what is saved: on a busy machine the last
    questions may take a while to be stored."""
    before = len(connections.samples)

    def latest():
        return connections.samples[before:][-SAMPLES:]

    def settled():
        return len(latest()) == SAMPLES and statistics.median(map(len, map(busy, latest()))) == 0

    wait_until(settled, PATIENCE)
    return latest()


def test_two_hundred_turns_at_once(provider):
    token = make_token(make_user("alice"))
    gate = threading.Event()
    pieces = [f"piece {i} " for i in range(20)]
    provider.always(says(*pieces[:10], gate, *pieces[10:], pause=0.01))
    connection.close()
    # The model is silent while the test waits, which on a busy machine takes long.
    patient = environment_of(provider, timeout=PATIENCE * 2) | {"CHAT_TURN_STALE_SECONDS": "300"}
    with serving(provider, workers=WORKERS, threads=THREADS, **patient) as server:
        client = server.client(token)

        def turn(number):
            if number % 2:
                return client.ask(f"Question {number}").body["response"]
            return text_of(client.stream(f"Question {number}"))

        with ThreadPoolExecutor(TURNS) as pool, Connections() as connections:
            answers = [pool.submit(turn, number) for number in range(TURNS)]
            wait_until(lambda: provider.running == TURNS, PATIENCE)
            talking = while_it_talks(connections)
            gate.set()
            texts = [answer.result() for answer in answers]
    assert texts == ["".join(pieces)] * TURNS
    stored = Message.objects.filter(role="assistant")
    assert set(stored.values_list("status", "content")) == {("complete", "".join(pieces))}
    assert stored.count() == len(provider.chats) == TURNS
    assert max(map(len, connections.samples)) <= WORKERS * (THREADS + OTHER_CONNECTIONS)
    # A save a second, milliseconds long, is all there is.
    assert statistics.median(map(len, map(busy, talking))) == 0, talking[:10]
    assert max(map(len, map(busy, talking))) <= WORKERS * DATABASE_THREADS
    assert len(talking) > 20
