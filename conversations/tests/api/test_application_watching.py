"""An application's answer as browsers watch it: the events of its row, live and afterwards."""

import threading

import pytest

from conversations.services.turns import CONVERSATION_DELETED
from conversations.tests.api.answers import Answer
from conversations.tests.chat.clients import Answer as Reply
from conversations.tests.chat.clients import ChatClient, names_of, text_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.factories import client_for, make_token, make_user

pytestmark = pytest.mark.django_db(transaction=True)

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


@pytest.fixture
def alice(transactional_db):
    return make_user("alice")


@pytest.fixture
def answer(alice):
    answer = Answer(client_for(alice), alice, model="m", provider="p")
    yield answer
    if answer.client is not None:
        answer.patch(status="stopped")


@pytest.fixture
def browser(alice, live_server):
    return ChatClient(live_server.url, make_token(alice))


class Watcher(threading.Thread):
    def __init__(self, stream):
        super().__init__(daemon=True)
        self.stream, self.events = stream, []
        self.start()

    def run(self):
        for event in self.stream:
            self.events.append(event)

    @property
    def text(self):
        return text_of(self.events)


def as_json(browser, answer):
    with browser.call("GET", f"/api/chat/streams/{answer.id}", Accept="application/json") as reply:
        return Reply(reply)


def test_a_browser_sees_each_piece_and_the_end(answer, browser):
    watcher = Watcher(browser.join(answer.id))
    wait_until(lambda: watcher.events)
    start = watcher.events[0].data
    assert (start["message_id"], start["provider"], start["model"]) == (answer.id, "p", "m")
    for text, offset, whole in (("Hello", 0, 5), (" 😀", 5, 7), (" you", 7, 11)):
        answer.say(text, offset)
        wait_until(lambda length=whole: len(watcher.text) == length)
    answer.end(finish_reason="stop", prompt_tokens=7, completion_tokens=3, model="m-2")
    watcher.join(20)
    assert names_of(watcher.events) == ["start", "delta", "done"]
    done = watcher.events[-1].data
    assert (done["response"], done["status"], done["model"]) == ("Hello 😀 you", "complete", "m-2")
    usage = done["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (7, 3)
    # From any event on, whoever comes later gets the rest.
    for place, event in enumerate(watcher.events[:-1]):
        rest = list(browser.join(answer.id, last=event.id))
        assert text_of(watcher.events[: place + 1]) + text_of(rest) == "Hello 😀 you"
        assert rest[-1].data == done
    assert browser.join(answer.id, last=watcher.events[-1].id).status == 204


def test_tool_calls_are_told_at_the_end_and_text_after_them_is_not_lost(answer, browser):
    watcher = Watcher(browser.join(answer.id))
    answer.patch(
        append={"content": "Let me see", "tool_calls": [CALL]}, offset=0, tool_calls_offset=0
    )
    wait_until(lambda: watcher.text == "Let me see")
    answer.say(", one moment.", 10)
    wait_until(lambda: watcher.text == "Let me see, one moment.")
    answer.end(finish_reason="tool_calls")
    watcher.join(20)
    assert names_of(watcher.events) == ["start", "delta", "tool_call", "done"]
    called = watcher.events[-2].data
    assert (called["tool"], called["tool_call_id"], called["arguments"]) == ("f", "c", '{"a": 1}')


def test_who_wants_json_waits_for_the_end(answer, browser):
    answer.say("Hello", 0)
    told = []
    waiting = threading.Thread(target=lambda: told.append(as_json(browser, answer)), daemon=True)
    waiting.start()
    answer.say(" you", 5)
    assert told == []
    answer.end()
    waiting.join(20)
    assert (told[0].status, told[0].body["response"]) == (200, "Hello you")
    assert as_json(browser, answer).body == told[0].body


def test_a_failure_is_told_in_the_applications_words(answer, browser):
    answer.say("Hel", 0)
    watcher = Watcher(browser.join(answer.id))
    answer.patch(status="failed", error="No quota is left.", finish_reason="quota")
    watcher.join(20)
    last = watcher.events[-1]
    assert (last.name, last.data["response"]) == ("error", "Hel")
    assert last.data["errors"][0]["code"] == "quota"
    assert last.data["errors"][0]["detail"] == "No quota is left."
    failed = as_json(browser, answer)
    assert (failed.status, failed.body["errors"][0]["detail"]) == (502, "No quota is left.")


def test_a_watcher_is_told_that_the_conversation_was_deleted(answer, browser):
    watcher = Watcher(browser.join(answer.id))
    wait_until(lambda: watcher.events)
    answer.client.delete(f"/api/conversations/{answer.chat.pk}")
    watcher.join(20)
    assert watcher.events[-1].data["errors"][0]["detail"] == CONVERSATION_DELETED
