"""Turns across processes: joined on another one, and cut short by the death of their own."""

import signal
import threading
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from conversations.models import ApiToken, Message, Status
from conversations.models.interrupted import INTERRUPTED
from conversations.services.turns import CONVERSATION_DELETED
from conversations.tests.chat.clients import names_of, text_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import Call, calls, says
from conversations.tests.chat.scripted_provider import ScriptedProvider
from conversations.tests.chat.servers import serving
from conversations.tests.chat.turns import begin
from conversations.tests.factories import make_token, make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def token(transactional_db):
    return make_token(make_user("alice"))


@pytest.fixture(scope="module")
def shared(django_db_setup):
    """A provider, and two servers that ask it and share nothing but the database. A server takes
    seconds to start and at its first turn, so those that no test kills serve all of them."""
    with ScriptedProvider() as provider, serving(provider) as one, serving(provider) as other:
        yield provider, one, other


@pytest.fixture
def provider(shared):
    provider = shared[0]
    yield provider
    provider.reset()


@pytest.fixture
def servers(shared, token):
    yield shared[1:]
    # What still runs would write into the next test's tables.
    wait_until(lambda: not Message.objects.filter(status=Status.STREAMING).exists())


@pytest.fixture
def two(servers, token):
    """Clients of the two servers."""
    return [server.client(token) for server in servers]


def read_until(stream, text):
    seen = []
    for event in stream:
        seen.append(event)
        if text_of(seen) == text:
            return seen
    raise AssertionError(seen)


def test_a_client_that_left_gets_the_rest_from_another_process(two, provider):
    here, there = two
    gate = threading.Event()
    words = [f"word{i} " for i in range(40)]
    provider.script(says(*words[:3], gate, *words[3:], pause=0.02))
    stream = here.stream()
    seen = read_until(stream, "".join(words[:3]))
    stream.close()
    rest = iter(there.join(seen[0].data["message_id"], last=seen[-1].id))
    gate.set()
    came = list(rest)
    assert names_of(came) == ["delta", "done"]
    assert text_of(seen) + text_of(came) == "".join(words) == came[-1].data["response"]
    assert Message.objects.get(id=seen[0].data["message_id"]).content == "".join(words)
    assert not {event.id for event in seen} & {event.id for event in came}
    # From any earlier event on, any process says the same.
    everything = seen + came
    for place, client in ((0, here), (2, there), (len(seen), here)):
        again = list(client.join(seen[0].data["message_id"], last=everything[place].id))
        assert text_of(everything[: place + 1]) + text_of(again) == "".join(words)
    assert len(provider.chats) == 1


def test_a_turn_with_tools_is_followed_from_another_process(two, provider):
    here, there = two
    gate = threading.Event()
    provider.script(
        calls(Call("nope", {"a": 1}), text="Let me see. "), says("It ", gate, "failed.")
    )
    stream = here.stream()
    start = next(iter(stream)).data
    follower = there.join(start["message_id"])
    provider.wait_for(lambda: len(provider.chats) == 2, seconds=60)  # the first turn's imports
    gate.set()
    followed, lived = list(follower), list(stream)
    assert names_of(followed) == [
        "start",
        "delta",
        "tool_call",
        "tool_result",
        "delta",
        "done",
    ]
    assert names_of(lived) == names_of(followed)[1:]
    assert lived[-1].data == followed[-1].data
    assert followed[-1].data["response"] == text_of(followed) == "Let me see. It failed."
    assert followed[-1].id == lived[-1].id
    # Any message of the turn leads to it.
    assert list(there.join(followed[-1].data["message_id"]))[-1].data == followed[-1].data


def test_stop_reaches_the_process_that_runs_the_turn(two, provider):
    here, there = two
    provider.script(says("a", "b", threading.Event()))
    stream = here.stream()
    seen = read_until(stream, "ab")
    began = time.monotonic()
    assert there.stop(seen[0].data["message_id"]).body["status"] == "stopping"
    last = list(stream)[-1]
    assert (last.name, last.data["status"], last.data["response"]) == ("done", "stopped", "ab")
    assert time.monotonic() - began < 3


def test_a_killed_process_leaves_what_had_come_and_the_next_turn_works_at_once(
    provider, token, two
):
    _, there = two
    there.ask()  # what only the first turn of a process waits for
    with serving(provider) as doomed:
        provider.script(says(*[f"{i} " for i in range(400)], pause=0.02), says("Back."))
        stream = doomed.client(token).stream("Count")
        seen = []
        for event in stream:
            seen.append(event)
            if len(text_of(seen)) > 200:
                break
        start = seen[0].data
        follower = iter(there.join(start["message_id"]))
        assert next(follower).name == "start"
        doomed.kill_workers()
        killed_at = time.monotonic()
        answer = there.ask("And now?", conversation_id=start["conversation_id"])
        # A killed process is gone once the kernel has cleared it away.
        while answer.status == 409 and time.monotonic() - killed_at < 10:
            time.sleep(0.1)
            answer = there.ask("And now?", conversation_id=start["conversation_id"])
        # By age alone it would take CHAT_TURN_STALE_SECONDS, which is 30.
        assert time.monotonic() - killed_at < 15
        last = list(follower)[-1]
    assert (answer.status, answer.body["response"]) == (200, "Back.")
    asked, cut, *_ = there.messages(start["conversation_id"])
    assert asked["content"] == "Count"
    assert (cut["status"], cut["finish_reason"]) == ("interrupted", "interrupted")
    whole = "".join(f"{i} " for i in range(400))
    assert whole.startswith(cut["content"])
    # 50 pieces of at most 4 characters a second; at most about a second is lost.
    assert len(text_of(seen)) - len(cut["content"]) < 1.5 * 50 * 4
    assert cut["metadata"] == {}
    assert last.name == "error"
    assert last.data["errors"][0]["code"] == "interrupted"
    assert last.data["response"] == cut["content"]


def test_an_answer_given_again_is_cut_short_on_its_branch(provider, token, two):
    here, there = two
    provider.script(says("First."))
    first = here.ask("Count").body
    key = first["conversation_id"]
    with serving(provider) as doomed:
        provider.script(calls(Call("nope"), text="Let me see. "), says("a", "b", threading.Event()))
        stream = doomed.client(token).stream_again(first["message_id"])
        seen = read_until(stream, "Let me see. ab")
        start = seen[0].data
        follower = iter(there.join(start["message_id"]))
        assert next(follower).data == start
        wait_until(lambda: Message.objects.filter(content="ab").exists())
        doomed.kill_workers()
        last = list(follower)[-1]
    assert (last.name, last.data["errors"][0]["code"]) == ("error", "interrupted")
    assert last.data["response"] == "Let me see. ab"
    rows = Message.objects.order_by("sequence")
    assert [(row.branch, row.role, row.status) for row in rows] == [
        (0, "user", "complete"),
        (0, "assistant", "complete"),
        (1, "assistant", "complete"),
        (1, "tool", "complete"),
        (1, "assistant", "interrupted"),
    ]
    # What was interrupted is given again at once, by any of its messages and on any process.
    provider.script(says("Back."))
    again = here.regenerate(last.data["message_id"]).body
    assert (again["response"], again["conversation_id"]) == ("Back.", key)
    assert provider.chats[-1].messages[-1] == ("user", "Count")
    assert len(provider.chats[-1].messages) == len(provider.chats[0].messages)
    assert list(there.join(again["stream_id"]))[-1].data == again


def test_a_process_that_is_told_to_end_marks_its_turns(provider, token):
    with serving(provider) as server:
        provider.script(says("a", "b", threading.Event()))
        stream = server.client(token).stream()
        seen = read_until(stream, "ab")
        server.process.send_signal(signal.SIGTERM)
        rest = list(stream)
        server.process.wait(20)
    stored = Message.objects.get(id=seen[0].data["message_id"])
    assert (stored.status, stored.content) == ("interrupted", "ab")
    assert [event.name for event in rest] in (["error"], [])


def test_an_old_row_of_an_unknown_process_is_interrupted(two):
    here, _ = two
    owner = ApiToken.objects.select_related("user").get().user
    turn = begin(owner, runner="of another machine")
    where = {"conversation_id": str(turn.conversation_id)}
    assert here.ask("Again", **where).status == 409
    age(turn.id)
    assert here.ask("Again", **where).status == 200
    assert Message.objects.get(id=turn.id).status == Status.INTERRUPTED


def test_a_silent_model_is_no_dead_process(provider, token):
    provider.script(says("Well", " then.", pause=7))
    with serving(provider, CHAT_TURN_STALE_SECONDS="3") as server:
        client = server.client(token)
        stream = iter(client.stream())
        start = next(stream).data
        row = Message.objects.filter(id=start["message_id"])
        written, statuses, until = set(), set(), time.monotonic() + 6
        while time.monotonic() < until:
            written.add(row.values_list("updated_at", flat=True).get())
            statuses.add(client.messages(start["conversation_id"])[-1]["status"])
            time.sleep(0.1)
        assert text_of(stream) == "Well then."
    assert statuses == {"streaming"}
    assert 3 <= len(written) <= 8


def age(message_id):
    """As if its process had shown no sign of life for CHAT_TURN_STALE_SECONDS."""
    old = timezone.now() - timedelta(seconds=31)
    Message.objects.filter(id=message_id).update(updated_at=old)


def test_a_follower_is_told_that_the_answer_was_deleted(two, provider):
    here, there = two
    provider.script(says("a", "b", threading.Event()))
    stream = here.stream()
    seen = read_until(stream, "ab")
    start = seen[0].data
    follower = iter(there.join(start["message_id"]))
    assert next(follower).name == "start"
    there.call("DELETE", f"/api/conversations/{start['conversation_id']}").close()
    deleted_at = time.monotonic()
    for last in (list(follower)[-1], list(stream)[-1]):
        assert last.name == "error"
        assert last.data["errors"][0] == {
            "code": "not_stored",
            "detail": CONVERSATION_DELETED,
            "attr": None,
        }
    assert time.monotonic() - deleted_at < 3


def test_a_process_that_was_held_up_tells_what_others_made_of_its_turn(servers, two, provider):
    held_up, client = servers[0], two[1]
    for one in two:
        one.ask()  # what only the first turn of a process waits for
    provider.script(says("a", "b", threading.Event()), says("Back."))
    stream = two[0].stream()
    seen = read_until(stream, "ab")
    start = seen[0].data
    wait_until(lambda: Message.objects.get(id=start["message_id"]).content == "ab")
    held_up.signal_workers(signal.SIGSTOP)
    try:
        age(start["message_id"])
        where = {"conversation_id": start["conversation_id"]}
        wait_until(lambda: client.ask("Again", **where).status == 200, 30)
    finally:
        held_up.signal_workers(signal.SIGCONT)
    last = list(stream)[-1]
    assert (last.name, last.data["status"]) == ("error", "interrupted")
    assert last.data["errors"][0]["detail"] == INTERRUPTED
    assert Message.objects.get(id=start["message_id"]).status == "interrupted"


def test_the_turn_of_a_killed_process_is_ended_and_found_although_nobody_asks(provider, token):
    with serving(provider) as server:
        provider.script(says("lighthouse", threading.Event()))
        stream = server.client(token).stream()
        seen = read_until(stream, "lighthouse")
        wait_until(lambda: Message.objects.get(id=seen[0].data["message_id"]).content)
        server.kill_workers()
        # The worker that takes its place looks at once; by age alone it would take 30 seconds.
        wait_until(lambda: Message.objects.filter(status=Status.INTERRUPTED).exists(), 20)
        found = []
        wait_until(lambda: found.append(search(server, token)) or found[-1], 20)
    assert found[-1][0]["message"]["id"] == seen[0].data["message_id"]


def search(server, token):
    try:
        return server.client(token).get("/api/search?q=lighthouse").body["results"]
    except OSError:  # the new worker is not there yet
        return []
