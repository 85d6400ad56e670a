"""A running answer shows a sign of life about once a second, whatever else waits."""

import threading

import pytest
from django.db import connection, transaction

from conversations.models import Conversation, Message
from conversations.tests.chat import sample_tools
from conversations.tests.chat.clients import text_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import Call, calls, says


@pytest.fixture(autouse=True)
def patient(settings, scripted):
    """A model may be silent for as long as it takes."""
    provider = settings.CHAT_PROVIDERS["scripted"] | {"timeout": 60}
    settings.CHAT_PROVIDERS = {"scripted": provider}


def begun(chat):
    """A turn that has said "ab": the id of its answer, and its stream."""
    stream = iter(chat.stream())
    start = next(stream).data
    wait_until(lambda: Message.objects.get(id=start["message_id"]).content == "ab")
    return start["message_id"], stream


def sign_of_life(message_id):
    return Message.objects.values_list("updated_at", flat=True).get(id=message_id)


def wait_for_signs(message_id, count=2):
    for _ in range(count):
        before = sign_of_life(message_id)
        wait_until(lambda before=before: sign_of_life(message_id) > before)


def waits_for_lock(count):
    """Whether so many connections wait for a lock."""
    with connection.cursor() as cursor:
        # Within a transaction each look would find what the first one did.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
        return cursor.fetchone()[0] >= count


def test_while_the_model_is_silent(chat, scripted):
    gate = threading.Event()
    scripted.script(says("a", "b", gate))
    message_id, stream = begun(chat)
    wait_for_signs(message_id)
    gate.set()
    assert text_of(list(stream)) == "ab"


@pytest.mark.one_node("its rows are locked without their owner")
def test_while_the_ends_of_other_answers_wait_for_locks(chat, scripted):
    gates = [threading.Event() for _ in range(3)]
    scripted.script(*(says("a", "b", gate, "c") for gate in gates))
    (silent, stream), *others = [begun(chat) for _ in gates]
    with transaction.atomic():
        ids = [message_id for message_id, _ in others]
        list(Message.objects.filter(id__in=ids).select_for_update())
        for gate in gates[1:]:
            gate.set()
        # They keep all threads busy that write what has happened.
        wait_until(lambda: waits_for_lock(len(others)))
        wait_for_signs(silent)
    gates[0].set()
    for one in (stream, *(other for _, other in others)):
        assert text_of(list(one)).endswith("c")


@pytest.fixture
def tool(settings):
    """A tool that returns at once."""
    settings.CHAT_TOOLS = ["conversations.tests.chat.sample_tools.waits"]
    sample_tools.gate.set()


@pytest.mark.one_node("its rows are locked without their owner")
def test_while_its_next_step_waits_for_a_lock(chat, scripted, tool):
    gate = threading.Event()
    scripted.script(calls(Call("waits"), text="ab"), says(gate, "c"))
    message_id, stream = begun(chat)
    wait_until(lambda: len(scripted.chats) == 2)
    with transaction.atomic():
        list(Conversation.objects.select_for_update())
        gate.set()
        wait_until(lambda: waits_for_lock(1))
        wait_for_signs(message_id)
    assert list(stream)[-1].data["response"] == "abc"
