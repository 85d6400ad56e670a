"""`store: false`: a turn of which nothing is kept but what it used."""

import json
import logging
import os
import signal
import threading

import pytest

from conversations.models import Conversation, Message, Tombstone, UnstoredTurn
from conversations.selectors.usage import usage_of
from conversations.services import SCRIPT, erase_user
from conversations.tests.chat.clients import ChatClient, names_of, text_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import (
    Call,
    breaks,
    calls,
    drops,
    says,
    thinks,
)
from conversations.tests.chat.servers import serving
from conversations.tests.factories import make_token, make_user

COUNTS = ("status", "finish_reason", "prompt_tokens", "completion_tokens", "reasoning_tokens")
IDS = ("conversation_id", "message_id", "stream_id")


@pytest.fixture(autouse=True)
def nothing_is_kept(transactional_db):
    yield
    assert not any(model.objects.exists() for model in (Conversation, Message, Tombstone))


def counted():
    return UnstoredTurn.objects.values(*COUNTS).get()


def test_it_streams_as_any_other_and_keeps_its_counts(chat, scripted, settings):
    settings.CHAT_PROVIDERS["scripted"]["prices"] = {"scripted": {"input": 1, "output": 2}}
    usage = {"prompt_tokens": 100, "completion_tokens_details": {"reasoning_tokens": 7}}
    scripted.script(says(*thinks("Hm"), "Hel", "lo", usage=usage))
    events = list(chat.stream("A secret", store=False))
    assert names_of(events) == ["start", "reasoning", "delta", "done"]
    start, done = events[0].data, events[-1].data
    assert [start[name] for name in ("conversation_id", "message_id", "user_message_id")] == [
        None
    ] * 3
    assert [done[name] for name in IDS] == [None] * 3
    assert events[2].data["message_id"] is None
    assert (text_of(events), done["response"], done["status"]) == ("Hello", "Hello", "complete")
    row = UnstoredTurn.objects.get()
    assert counted() == {
        "status": "complete",
        "finish_reason": "stop",
        "prompt_tokens": 100,
        "completion_tokens": 3,
        "reasoning_tokens": 7,
    }
    assert (str(row.cost), row.user.username) == ("0.000106000000", "alice")
    assert (row.provider, row.model) == ("scripted", "scripted")
    assert row.latency_ms >= row.first_token_ms
    assert "secret" not in json.dumps(list(UnstoredTurn.objects.values()), default=str)


def test_its_steps_are_added_up(chat, scripted, settings):
    settings.CHAT_TOOLS = ["conversations.tests.chat.sample_tools.weather"]
    scripted.script(calls(Call("weather", {"city": "Rome"}), text="A moment. "), says("Sunny."))
    body = chat.ask("Weather?", store=False).body
    assert body["response"] == "A moment. Sunny."
    assert body["actions_taken"] == [
        {"tool": "weather", "result": "Sunny in Rome.", "task_id": None}
    ]
    assert [one["role"] for one in scripted.chats[1].body["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]
    assert counted()["completion_tokens"] == body["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [(breaks(), 502, "provider_error"), (drops("Hel"), 502, "provider_broke_off")],
)
def test_a_failure_is_counted_and_names_no_ids(chat, scripted, behaviour, status, code):
    scripted.script(behaviour)
    answer = chat.ask(store=False)
    assert (answer.status, answer.body["errors"][0]["code"]) == (status, code)
    assert not set(IDS) & answer.body.keys()
    assert (counted()["status"], counted()["finish_reason"]) == ("failed", code)


def test_it_ends_with_its_client(chat, scripted):
    scripted.script(says(*["x"] * 600, pause=0.05))
    stream = chat.stream(store=False)
    events = iter(stream)
    while next(events).name != "delta":
        pass
    stream.close()
    # The next write shows that it has left.
    wait_until(lambda: UnstoredTurn.objects.exists())
    assert counted()["status"] == "stopped"
    wait_until(lambda: scripted.chats[0].outcome == "left")


def test_it_ends_with_the_client_of_a_web_server_too(provider, transactional_db):
    provider.script(says(*["x"] * 600, pause=0.05))
    token = make_token(make_user("alice"))
    with serving(provider) as server:
        stream = server.client(token).stream(store=False)
        next(iter(stream))
        stream.close()
        wait_until(lambda: UnstoredTurn.objects.exists())
    assert counted()["status"] == "stopped"


def test_a_server_that_is_stopped_counts_it(provider, transactional_db):
    provider.script(says("Hel", threading.Event()))
    token = make_token(make_user("alice"))
    with serving(provider) as server:
        events = iter(server.client(token).stream(store=False))
        while next(events).name != "delta":
            pass
        os.kill(server.process.pid, signal.SIGTERM)
        assert list(events)[-1].data["status"] == "interrupted"
    assert counted()["status"] == "interrupted"


def test_nobody_can_join_or_stop_it(chat, scripted):
    gate = threading.Event()
    scripted.script(says("Hel", gate, "lo"))
    stream = iter(chat.stream(store=False))
    start, first = next(stream), next(stream)
    id_ = start.id.partition(":")[0]
    assert chat.join(id_).status == 404
    assert chat.stop(id_).status == 404
    assert chat.ask_stream(last=first.id).status == 404
    gate.set()
    assert list(stream)[-1].name == "done"


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("Idempotency-Key", {"key": "k"}),
        ("metadata", {"metadata": {}}),
        ("conversation_id", {"conversation_id": "01900000-0000-7000-8000-000000000000"}),
    ],
)
def test_what_would_have_to_be_stored_is_refused(chat, scripted, field, options):
    answer = chat.ask(store=False, **options)
    assert answer.status == 400
    assert answer.body["errors"][0]["attr"] == field
    assert not scripted.chats


def test_the_question_is_checked_as_any_other(chat, scripted):
    for message in ("", "  ", "x" * 10_001, "\x00"):
        assert chat.ask(message, store=False).status == 400
    parts = [{"type": "image_url", "image_url": {"url": "http://a.example/a.png"}}]
    assert chat.ask(store=False, parts=parts).status == 400
    assert not scripted.chats


def test_a_trusted_client_may_ask_so_for_its_users(chat, scripted):
    backend = ChatClient(chat.url, make_token(make_user("crm"), trusted=True))
    assert backend.ask(store=False, user_id="carol").status == 200
    assert UnstoredTurn.objects.get().user.username == "carol"


def test_it_is_part_of_the_users_figures_and_goes_with_the_user(chat, scripted):
    scripted.always(says("Hi", usage={"prompt_tokens": 10, "cost": 0.5}))
    for _ in range(2):
        chat.ask(store=False)
    owner = UnstoredTurn.objects.first().user
    (row,) = usage_of(owner.pk)["models"]
    assert (row["model"], row["turns"], row["prompt_tokens"], row["cost"]) == ("scripted", 2, 20, 1)
    erase_user(user_id=owner.pk, access=SCRIPT)
    assert not UnstoredTurn.objects.exists()


def test_nothing_of_it_is_logged(chat, scripted, caplog):
    caplog.set_level(logging.DEBUG, logger="conversations")
    scripted.script(says("A whispered answer"))
    chat.ask("A whispered question", store=False)
    ours = [one for one in caplog.records if one.name.startswith(("conversations", "chatproject"))]
    assert "whispered" not in repr([(one.getMessage(), one.__dict__) for one in ours])
