"""What a client is told at the end of a turn is what the record says of it."""

import logging
import threading
import time

import pytest

from conversations.chat.runtime.running_turn import _store_end
from conversations.models import Conversation, Message, Status
from conversations.models.interrupted import INTERRUPTED
from conversations.services import SCRIPT
from conversations.services.abandoned_turns import interrupt_abandoned
from conversations.services.turns import CONVERSATION_DELETED, open_step
from conversations.tests.chat import sample_tools
from conversations.tests.chat.clients import text_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import Call, calls, says
from conversations.tests.chat.turns import begin, ended, with_text

PROMPTLY = 2.5  # seconds; a turn looks at its row once a second


@pytest.fixture
def tool(settings):
    """A tool that does not return before the test says so."""
    settings.CHAT_TOOLS = ["conversations.tests.chat.sample_tools.waits"]
    sample_tools.gate.clear()
    yield sample_tools.gate
    sample_tools.gate.set()


@pytest.fixture
def quiet(caplog):
    """Nothing that happens is an error of this server."""
    yield
    assert [one for one in caplog.records if one.levelno >= logging.ERROR and one.exc_info] == []


def begun(chat, text="ab"):
    """The events of a stream so far, and the rest of it."""
    stream = iter(chat.stream())
    seen = [next(stream)]
    while text_of(seen) != text:
        seen.append(next(stream))
    return seen[0].data, stream


def delete_conversation(chat, start, access=SCRIPT):
    chat.call("DELETE", f"/api/conversations/{start['conversation_id']}").close()


def delete_answer(chat, start):
    where = f"/api/conversations/{start['conversation_id']}/messages/{start['message_id']}"
    chat.call("DELETE", where).close()


DELETIONS = {"conversation": delete_conversation, "answer": delete_answer}


@pytest.mark.parametrize("what", DELETIONS)
def test_an_answer_that_is_deleted_while_it_is_written_was_not_stored(chat, scripted, quiet, what):
    scripted.script(says("a", "b", threading.Event()))
    start, stream = begun(chat)
    DELETIONS[what](chat, start)
    deleted_at = time.monotonic()
    last = list(stream)[-1]
    assert time.monotonic() - deleted_at < PROMPTLY
    assert (last.name, last.data["status"], last.data["finish_reason"]) == (
        "error",
        "failed",
        "not_stored",
    )
    error = last.data["errors"][0]
    assert error["code"] == "not_stored"
    assert f"The {what} was deleted" in error["detail"]
    assert last.data["response"] == "ab"
    wait_until(lambda: scripted.chats[0].outcome == "left")


@pytest.mark.parametrize("what", DELETIONS)
def test_also_when_it_is_deleted_at_the_last_moment(chat, scripted, quiet, what):
    """Before the turn has looked at its row again, the model has come to its end."""
    gate = threading.Event()
    scripted.script(says("a", "b", gate))
    start, stream = begun(chat)
    DELETIONS[what](chat, start)
    gate.set()
    last = list(stream)[-1]
    assert (last.name, last.data["errors"][0]["code"]) == ("error", "not_stored")
    assert not Message.objects.filter(id=start["message_id"]).exists()


def test_the_json_answer_says_so_too(chat, scripted, quiet):
    gate = threading.Event()
    scripted.script(says("a", gate, "b"))
    answers = []
    asking = threading.Thread(target=lambda: answers.append(chat.ask("Hi")))
    asking.start()
    scripted.wait_for(lambda: scripted.chats)
    Conversation.objects.all().delete()
    gate.set()
    asking.join(10)
    (answer,) = answers
    assert (answer.status, answer.body["errors"][0]) == (
        503,
        {"code": "not_stored", "detail": CONVERSATION_DELETED, "attr": None},
    )


@pytest.mark.parametrize("what", DELETIONS)
def test_the_model_is_not_asked_on_once_its_answer_is_gone(chat, scripted, tool, quiet, what):
    scripted.script(calls(Call("waits"), text="ab"), says("Never said."))
    start, stream = begun(chat)
    wait_until(lambda: Message.objects.get(id=start["message_id"]).tool_calls)
    DELETIONS[what](chat, start)
    tool.set()
    last = list(stream)[-1]
    assert (last.name, last.data["errors"][0]["code"]) == ("error", "not_stored")
    assert len(scripted.chats) == 1
    assert not Message.objects.filter(role="tool").exists()


def interrupt(start):
    chat = Conversation.objects.get(pk=start["conversation_id"])
    place = {"owner_id": chat.user_id, "conversation_id": chat.pk}
    assert interrupt_abandoned(**place, is_dead=lambda runner: True)


def told(event):
    data = event.data
    return event.name, data["status"], data["finish_reason"], data["errors"][0]["detail"]


@pytest.mark.parametrize("comes_to_its_end", [True, False])
def test_an_answer_that_somebody_else_ended_is_told_as_it_is_stored(
    chat, scripted, quiet, comes_to_its_end
):
    gate = threading.Event()
    scripted.script(says("a", "b", gate, "c"))
    start, stream = begun(chat)
    wait_until(lambda: Message.objects.get(id=start["message_id"]).content == "ab")
    interrupt(start)
    if comes_to_its_end:
        gate.set()
    last = list(stream)[-1]
    assert told(last) == ("error", "interrupted", "interrupted", INTERRUPTED)
    assert last.data["response"] == "ab"
    assert last.data["message_id"] == start["message_id"]
    # Who comes later is told the same.
    later = list(chat.join(start["message_id"]))[-1]
    assert (told(later), later.data["response"]) == (told(last), "ab")
    stored = Message.objects.get(id=start["message_id"])
    assert (stored.status, stored.content) == ("interrupted", "ab")


def test_an_end_in_a_step_that_the_process_never_heard_of_is_told(alice):
    turn = begin(alice, runner="r")
    # The step was opened, but the connection broke before the process heard of it.
    open_step(turn=with_text(turn, "ab"))
    interrupt({"conversation_id": turn.conversation_id})
    stored = _store_end(ended(turn, "complete", content="ab"))
    assert (stored.status, stored.error, len(stored.steps)) == ("interrupted", INTERRUPTED, 2)


def test_the_model_is_not_asked_on_once_its_answer_was_ended(chat, scripted, tool, quiet):
    scripted.script(calls(Call("waits"), text="ab"), says("Never said."))
    start, stream = begun(chat)
    wait_until(lambda: Message.objects.get(id=start["message_id"]).tool_calls)
    interrupt(start)
    tool.set()
    assert told(list(stream)[-1]) == ("error", "interrupted", "interrupted", INTERRUPTED)
    assert len(scripted.chats) == 1
    assert not Message.objects.filter(role="tool").exists()


def test_what_a_client_changes_meanwhile_is_kept(chat, scripted, tool):
    scripted.script(calls(Call("waits"), text="ab"), says("It ", "waited."))
    start, stream = begun(chat)
    where = f"/api/conversations/{start['conversation_id']}"
    theirs = {"metadata": {"runner": "mine", "n": 1}, "rating": 1, "rating_comment": "So far."}
    with chat.call("PATCH", f"{where}/messages/{start['message_id']}", theirs) as changed:
        assert changed.status == 200
    chat.call("PATCH", where, {"title": "Ours", "metadata": {"a": 1}}).close()
    note = {"role": "user", "content": "Meanwhile"}
    chat.call("POST", f"{where}/messages", note).close()
    running = chat.get(f"{where}/messages/{start['message_id']}").body
    assert (running["status"], running["metadata"]) == ("streaming", theirs["metadata"])
    tool.set()
    assert list(stream)[-1].data["response"] == "abIt waited."
    asked, called, meanwhile, _, said = chat.messages(start["conversation_id"])
    assert {name: called[name] for name in theirs} == theirs
    assert (meanwhile["content"], said["metadata"], asked["metadata"]) == ("Meanwhile", {}, {})
    conversation = chat.get(where).body
    assert (conversation["title"], conversation["metadata"]) == ("Ours", {"a": 1})


@pytest.mark.parametrize("pause", [0, 0.002, 0.005, 0.01, 0.02])
def test_a_stop_that_races_with_the_end_is_told_as_it_is_stored(chat, scripted, pause):
    gate = threading.Event()
    scripted.script(says("a", "b", gate))
    start, stream = begun(chat)
    gate.set()
    time.sleep(pause)
    said = chat.stop(start["message_id"]).body["status"]
    last = list(stream)[-1]
    assert last.name == "done"
    stored = Message.objects.get(id=start["message_id"])
    assert stored.status == last.data["status"]
    assert stored.status in ("complete", "stopped")
    assert said in ("stopping", stored.status)
    assert (stored.content, last.data["response"]) == ("ab", "ab")


def test_a_stop_reaches_the_turn_between_two_steps(chat, scripted, tool):
    scripted.script(calls(Call("waits"), text="ab"), says("c", threading.Event()))
    _, stream = begun(chat)
    Message.objects.filter(status=Status.STREAMING).update(finish_reason="stopping")
    tool.set()
    assert list(stream)[-1].data["status"] == "stopped"
