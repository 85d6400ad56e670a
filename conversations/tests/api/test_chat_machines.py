"""Turns across machines: web servers that share nothing but DATABASE_URL, whose clocks differ."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from conversations.models import Message, Status
from conversations.models.interrupted import INTERRUPTED
from conversations.tests.api.test_chat_processes import read_until
from conversations.tests.chat.clients import names_of, text_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import says
from conversations.tests.chat.scripted_provider import ScriptedProvider
from conversations.tests.chat.servers import Route, machine
from conversations.tests.factories import make_token, make_user

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 4  # seconds without a sign of life
HOUR = 3600
SETTINGS = {"CHAT_TURN_STALE_SECONDS": str(LIMIT)}


@pytest.fixture
def token(transactional_db):
    return make_token(make_user("alice"))


@pytest.fixture(scope="module")
def shared(django_db_setup, tmp_path_factory):
    """A provider, the first machine's way to the database, and three machines. One's clock is an
    hour ahead, one's an hour behind. A test may kill the third."""
    route = Route()
    with ScriptedProvider() as provider, ExitStack() as stack:

        def start(clock, way=None):
            folder = tmp_path_factory.mktemp("machine")
            return machine(provider, folder, clock=clock, route=way, **SETTINGS)

        machines = [start(HOUR, route), start(-HOUR), start(HOUR)]
        with ThreadPoolExecutor() as pool:
            yield provider, route, *pool.map(stack.enter_context, machines)


@pytest.fixture
def provider(shared):
    yield shared[0]
    shared[0].reset()


@pytest.fixture
def route(shared):
    return shared[1]


@pytest.fixture
def machines(shared, token):
    yield shared[2:4]
    # What still runs would write into the next test's tables.
    wait_until(lambda: not Message.objects.filter(status=Status.STREAMING).exists())


@pytest.fixture
def two(machines, token):
    """Clients of the two machines."""
    return [server.client(token) for server in machines]


def begin(client, provider, *behaviours):
    """A turn that has said "ab" and says no more for now: its stream and its first event."""
    provider.script(says("a", "b", *behaviours))
    stream = client.stream()
    start = read_until(stream, "ab")[0].data
    wait_until(lambda: Message.objects.get(id=start["message_id"]).content == "ab")
    return stream, start


def status_of(client, start):
    """As a reader is told."""
    return answer_of(client, start)["status"]


def answer_of(client, start):
    found = client.messages(start["conversation_id"])
    return next(one for one in found if one["id"] == start["message_id"])


def is_interrupted(client, start):
    return status_of(client, start) == "interrupted"


def test_a_turn_is_followed_appended_to_and_stopped_from_another_machine(two, provider):
    here, there = two
    stream, start = begin(here, provider, threading.Event())
    where = f"/api/conversations/{start['conversation_id']}/messages"
    seen = list(zip(range(2), there.join(start["message_id"]), strict=False))
    follower = there.join(start["message_id"], last=seen[-1][1].id)
    assert status_of(there, start) == "streaming"
    assert there.ask("Again", conversation_id=start["conversation_id"]).status == 409
    with there.call("POST", where, {"role": "user", "content": "Meanwhile"}) as reply:
        assert reply.status == 201
    assert there.stop(start["message_id"]).body["status"] == "stopping"
    for last in (list(stream)[-1], list(follower)[-1]):
        assert (last.name, last.data["status"], last.data["response"]) == ("done", "stopped", "ab")
    found = there.messages(start["conversation_id"])
    assert [one["content"] for one in found] == ["Hi", "ab", "Meanwhile"]
    assert [one["sequence"] for one in found] == [1, 2, 3]


def test_a_killed_machine_is_found_by_age_and_one_with_a_silent_model_never(
    two, provider, token, shared
):
    here, there = two
    doomed, gate = shared[4], threading.Event()
    silent, running = begin(here, provider, gate, "c")
    _, start = begin(doomed.client(token), provider, threading.Event())
    _, nobody_asks = begin(doomed.client(token), provider, threading.Event())
    assert status_of(there, start) == "streaming"
    doomed.kill()
    follower = there.join(start["message_id"])
    time.sleep(LIMIT / 2)  # no file tells of it: only its age will
    assert status_of(there, start) == status_of(here, start) == "streaming"
    wait_until(lambda: is_interrupted(there, start) and is_interrupted(here, start), LIMIT)
    last = list(follower)[-1]
    assert (last.name, last.data["errors"][0]["detail"]) == ("error", INTERRUPTED)
    assert answer_of(there, start)["content"] == "ab"
    wait_until(lambda: Message.objects.get(id=nobody_asks["message_id"]).status == "interrupted")
    # The model of the other turn has been silent for longer.
    assert status_of(there, running) == status_of(here, running) == "streaming"
    gate.set()
    assert text_of(list(silent)) == "c"


def test_a_machine_that_stood_still_learns_what_another_made_of_its_turn(machines, two, provider):
    here, there = two
    gate = threading.Event()
    stream, start = begin(here, provider, gate, "c")
    provider.script(says("Back."))
    machines[0].signal_workers(signal.SIGSTOP)
    try:
        wait_until(lambda: is_interrupted(there, start), 3 * LIMIT)
        again = there.ask("Again", conversation_id=start["conversation_id"])
        gate.set()
    finally:
        machines[0].signal_workers(signal.SIGCONT)
    assert again.body["response"] == "Back."
    check_it_learned(here, there, stream, start)


def test_a_machine_cut_off_from_the_database_does_not_overwrite_what_another_made_of_its_turn(
    two, provider, route
):
    here, there = two
    gate, goes_on = threading.Event(), threading.Event()
    stream, start = begin(here, provider, goes_on, "c", gate, "d")
    provider.script(says("Back."), says("Here again."))
    route.cut()
    goes_on.set()
    try:
        wait_until(lambda: is_interrupted(there, start), 3 * LIMIT)
        again = there.ask("Again", conversation_id=start["conversation_id"])
    finally:
        route.restore()
    assert again.body["response"] == "Back."
    gate.set()
    check_it_learned(here, there, stream, start)
    assert here.ask("And now?").body["response"] == "Here again."


def check_it_learned(here, there, stream, start):
    """The rest of the stream ends with what is stored, which stays as it was."""
    last = list(stream)[-1]
    assert (last.name, last.data["status"]) == ("error", "interrupted")
    assert last.data["errors"][0]["detail"] == INTERRUPTED
    for client in (here, there):
        found = client.messages(start["conversation_id"])
        assert [one["content"] for one in found] == ["Hi", last.data["response"], "Again", "Back."]
        assert [one["status"] for one in found][1] == "interrupted"
        assert names_of(list(client.join(start["message_id"])))[-1] == "error"
