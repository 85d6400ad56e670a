"""What goes wrong at the provider: status, event and HTTP code, with the question kept."""

import logging
import threading

import pytest

from conversations.models import Message
from conversations.tests.chat.clients import names_of, text_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import (
    SECRET,
    breaks,
    drops,
    ends_early,
    fails_midway,
    garbles,
    hangs,
    rate_limited,
    replies,
    says,
    unauthorized,
)

FAILURES = [
    # behaviour, code, HTTP status, what had come
    (unauthorized(), "provider_refused", 502, ""),
    (rate_limited(7), "provider_busy", 503, ""),
    (breaks(500), "provider_error", 502, ""),
    (replies(400, {"error": {"message": SECRET}}), "provider_rejected", 502, ""),
    (replies(502, f"<html>{SECRET}</html>"), "provider_error", 502, ""),
    (hangs(), "provider_timeout", 504, ""),
    (hangs("a"), "provider_timeout", 504, "a"),
    (drops("a", "b"), "provider_broke_off", 502, "ab"),
    (ends_early("a"), "provider_broke_off", 502, "a"),
    (fails_midway("a"), "provider_broke_off", 502, "a"),
    (garbles("a"), "provider_unreadable", 502, "a"),
    (says(), "empty_answer", 502, ""),
    (says(finish="length"), "empty_answer", 502, ""),
]


@pytest.fixture
def patience(settings, scripted):
    settings.CHAT_PROVIDERS["scripted"]["timeout"] = 0.5


@pytest.mark.parametrize(("behaviour", "code", "status", "came"), FAILURES)
def test_a_failure_is_told_and_the_question_is_kept(
    chat, scripted, patience, caplog, behaviour, code, status, came
):
    caplog.set_level(logging.DEBUG)
    scripted.script(behaviour, behaviour)
    answer = chat.ask("Hello?")
    assert answer.status == status
    assert answer.body["type"] == "server_error"
    assert answer.body["errors"][0]["code"] == code
    assert answer.headers["Retry-After"] == ("7" if code == "provider_busy" else None)
    asked, said = chat.messages(answer.body["conversation_id"])
    assert asked["content"] == "Hello?"
    assert (said["status"], said["finish_reason"], said["content"]) == ("failed", code, came)
    assert said["error"] == answer.body["errors"][0]["detail"]

    events = list(chat.stream("Hello?"))
    assert names_of(events) == ["start", *(["delta"] if came else []), "error"]
    assert text_of(events) == came == events[-1].data["response"]
    assert events[-1].data["errors"][0]["code"] == code
    shown = repr([answer.body, [event.data for event in events], said])
    assert SECRET not in shown
    assert SECRET not in caplog.text
    assert "Traceback" not in shown


def test_nobody_listens(chat, settings, scripted, nobody_listens):
    settings.CHAT_PROVIDERS["scripted"]["base_url"] = nobody_listens
    answer = chat.ask("Hello?")
    assert (answer.status, answer.body["errors"][0]["code"]) == (502, "provider_unreachable")
    assert nobody_listens not in repr(answer.body)
    assert Message.objects.get(role="user").content == "Hello?"


def test_the_next_turn_works_after_a_failure(chat, scripted):
    scripted.script(breaks(), says("fine"))
    conversation = chat.ask("One").body["conversation_id"]
    assert chat.ask("Two", conversation_id=conversation).body["response"] == "fine"
    # A failed answer without text is nothing that was said.
    assert [role for role, _ in scripted.chats[1].messages] == ["system", "user", "user"]


def test_a_turn_that_takes_too_long_is_ended(chat, scripted, settings):
    settings.CHAT_TURN_SECONDS = 1
    scripted.script(says("a", *[0.2, "b"] * 40))
    answer = chat.ask()
    assert (answer.status, answer.body["errors"][0]["code"]) == (504, "provider_timeout")
    assert scripted.chats[0].outcome == "left"


def test_what_cannot_be_stored_is_left_out_of_the_answer(chat, scripted):
    scripted.script(says("a\x00b", "\ud800", "c"))
    events = list(chat.stream())
    assert text_of(events) == "ab?c" == events[-1].data["response"]


@pytest.mark.parametrize(
    ("change", "status", "says_what"),
    [
        ({"provider": "gpt"}, 400, "Configured: openai, scripted."),
        ({"provider": "openai"}, 503, "set OPENAI_API_KEY"),
        ({"conversation_id": "x"}, 400, "UUID"),
        ({"conversation_id": "0198c5a0-0000-7000-8000-000000000000"}, 404, "No such conversation"),
        ({"modle": "x"}, 400, "Did you mean `model`?"),
    ],
)
def test_what_is_refused_before_the_model_is_asked(
    chat, scripted, settings, change, status, says_what
):
    settings.CHAT_PROVIDERS["openai"] = {"needs_key": True, "api_key_env": "OPENAI_API_KEY"}
    answer = chat.ask(**change)
    assert answer.status == status
    assert says_what in answer.body["errors"][0]["detail"]
    assert chat.stream(**change).status == status
    assert not scripted.chats
    assert not Message.objects.exists()


def test_nothing_configured(chat, settings):
    settings.CHAT_PROVIDER = ""
    answer = chat.ask()
    assert answer.status == 503
    assert "Set CHAT_PROVIDER" in answer.body["errors"][0]["detail"]


def test_an_endpoint_that_cannot_be_started(chat, settings):
    settings.CHAT_PROVIDERS = {"embedded": {"start": f"{__name__}.cannot_start", "model": "m"}}
    settings.CHAT_PROVIDER = "embedded"
    answer = chat.ask()
    assert answer.status == 503
    assert "pip install the wheel" in answer.body["errors"][0]["detail"]


def cannot_start():
    raise RuntimeError("pip install the wheel")


def test_stop_keeps_what_came(chat, scripted):
    scripted.script(says("a", "b", threading.Event(), "c"))
    stream = iter(chat.stream())
    seen = [next(stream)]
    while text_of(seen) != "ab":
        seen.append(next(stream))
    message = seen[0].data["message_id"]
    assert chat.stop(message).body == {"status": "stopping", "message_id": message}
    last = list(stream)[-1]
    assert (last.name, last.data["status"], last.data["response"]) == ("done", "stopped", "ab")
    stored = Message.objects.get(id=message)
    assert (stored.content, stored.status, stored.finish_reason) == ("ab", "stopped", "stopped")
    wait_until(lambda: scripted.chats[0].outcome == "left")
    assert chat.stop(message).body["status"] == "stopped"


def test_a_deleted_conversation_ends_its_turn(chat, scripted):
    scripted.script(says("a", threading.Event()))
    stream = iter(chat.stream())
    conversation = next(stream).data["conversation_id"]
    scripted.wait_for(lambda: scripted.chats)
    chat.call("DELETE", f"/api/conversations/{conversation}").close()
    assert list(stream)[-1].name == "error"
    wait_until(lambda: scripted.chats[0].outcome == "left")
