"""Many turns at once: all complete, and a model that talks holds no database connection."""

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from conversations.models import Message
from conversations.tests.chat.clients import text_of
from conversations.tests.chat.scripted_behaviours import says
from conversations.tests.chat.servers import serving
from conversations.tests.factories import make_token, make_user

TURNS = 200
WORKERS = 2
THREADS = 90
DESK_THREADS = 2

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


def wait_until_all_run(provider):
    """All that will: the kernel spreads connections over the workers by chance, and one may get
    fewer than it has threads."""
    seen = 0
    for _ in range(30):
        if WORKERS * THREADS * 3 // 4 < provider.running == seen:
            return
        seen = provider.running
        time.sleep(1)
    raise AssertionError(f"{seen} turns run after 30 s")


def test_two_hundred_turns_at_once(provider):
    token = make_token(make_user("alice"))
    gate = threading.Event()
    pieces = [f"piece {i} " for i in range(20)]
    provider.always(says(*pieces[:10], gate, *pieces[10:], pause=0.01))
    connection.close()
    with serving(provider, workers=WORKERS, threads=THREADS) as server:
        client = server.client(token)

        def turn(number):
            if number % 2:
                return client.ask(f"Question {number}").body["response"]
            return text_of(client.stream(f"Question {number}"))

        with ThreadPoolExecutor(TURNS) as pool, Connections() as connections:
            answers = [pool.submit(turn, number) for number in range(TURNS)]
            wait_until_all_run(provider)
            before = len(connections.samples)
            time.sleep(3)
            while_it_talks = connections.samples[before:]
            gate.set()
            texts = [answer.result() for answer in answers]
    assert texts == ["".join(pieces)] * TURNS
    stored = Message.objects.filter(role="assistant")
    assert set(stored.values_list("status", "content")) == {("complete", "".join(pieces))}
    assert stored.count() == len(provider.chats) == TURNS
    assert max(map(len, connections.samples)) <= WORKERS * THREADS
    # A save a second, milliseconds long, is all there is.
    assert statistics.median(map(len, while_it_talks)) == 0, while_it_talks[:10]
    assert max(map(len, while_it_talks)) <= WORKERS * DESK_THREADS
    assert len(while_it_talks) > 20
