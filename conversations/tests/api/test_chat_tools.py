"""Tools and MCP servers: what is called, in which order it is stored, what is answered."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from django.conf import settings as django_settings

from conversations.chat.runtime.runner import runner
from conversations.models import Message
from conversations.tests.chat.clients import names_of, text_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import Call, calls, says
from conversations.tests.processes import free_port

EXAMPLE = django_settings.BASE_DIR / "docs" / "examples" / "tasks_mcp_server.py"
TOOLS = "conversations.tests.chat.sample_tools"


@pytest.fixture
def tools(settings):
    settings.CHAT_TOOLS = [
        f"{TOOLS}.{name}" for name in ("add_task", "weather", "fails", "asks_the_database")
    ]


@pytest.fixture
def fresh_servers():
    """The servers of a test are not those of the one before."""

    def forget():
        here = runner()
        asyncio.run_coroutine_threadsafe(here._mcp_servers.close(), here._loop).result(5)

    forget()
    yield
    forget()


def test_calls_and_results_are_messages_in_order(chat, scripted, tools):
    scripted.script(
        calls(
            Call("add_task", {"title": "milk"}, id="c1"),
            Call("weather", {"city": "Rome"}, id="c2"),
            text="Let me see. ",
        ),
        says("Milk is on ", "the list."),
    )
    events = list(chat.stream("Buy milk"))
    assert names_of(events) == [
        "start",
        "delta",
        "tool_call",
        "tool_call",
        "tool_result",
        "tool_result",
        "delta",
        "done",
    ]
    done = events[-1].data
    assert done["response"] == text_of(events) == "Let me see. Milk is on the list."
    milk = {"task_id": "t-milk", "title": "milk", "priority": 1}
    by_tool = {action["tool"]: action for action in done["actions_taken"]}
    assert by_tool == {
        "add_task": {"tool": "add_task", "result": milk, "task_id": "t-milk"},
        "weather": {"tool": "weather", "result": "Sunny in Rome.", "task_id": None},
    }
    assert done["usage"]["completion_tokens"] == 4
    asked, called, *results, said = chat.messages(done["conversation_id"])
    assert [one["sequence"] for one in (asked, called, *results, said)] == [1, 2, 3, 4, 5]
    assert (called["id"], called["status"], called["finish_reason"]) == (
        done["stream_id"],
        "complete",
        "tool_calls",
    )
    assert called["content"] == "Let me see. "
    assert [call["id"] for call in called["tool_calls"]] == ["c1", "c2"]
    function = called["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("add_task", {"title": "milk"})
    assert {one["tool_call_id"]: one["name"] for one in results} == {
        "c1": "add_task",
        "c2": "weather",
    }
    assert all(one["role"] == "tool" for one in results)
    assert (said["id"], said["content"]) == (done["message_id"], "Milk is on the list.")
    assert said["tool_calls"] is None


def test_the_next_turn_shows_the_model_its_calls(chat, scripted, tools):
    scripted.script(calls(Call("weather", {"city": "Rome"}, id="c1")), says("Sunny."), says("Yes."))
    conversation = chat.ask("Weather?").body["conversation_id"]
    chat.ask("Sure?", conversation_id=conversation)
    sent = scripted.chats[-1].body["messages"]
    assert [one["role"] for one in sent] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert sent[2]["tool_calls"][0]["id"] == sent[3]["tool_call_id"] == "c1"


def test_a_tool_that_fails_is_told_to_the_model(chat, scripted, tools):
    scripted.script(calls(Call("fails", {"why": "no"})), says("Sorry."))
    answer = chat.ask()
    assert (answer.status, answer.body["response"]) == (200, "Sorry.")
    assert "error occurred" in answer.body["actions_taken"][0]["result"]
    assert "sk-secret" not in repr(chat.messages(answer.body["conversation_id"]))


@pytest.mark.parametrize("call", [Call("nope", {}), Call("add_task", "{not json")])
def test_a_call_that_cannot_be_made_is_told_to_the_model(chat, scripted, tools, call):
    scripted.script(calls(call), says("Sorry."))
    answer = chat.ask()
    assert (answer.status, answer.body["response"]) == (200, "Sorry.")
    assert answer.body["actions_taken"][0]["tool"] == call.name
    assert Message.objects.filter(role="tool").count() == 1


def test_a_model_that_calls_tools_for_ever_is_ended(chat, scripted, tools, settings):
    settings.CHAT_MAX_TOOL_ROUNDS = 3
    scripted.always(calls(Call("weather", {"city": "Rome"})))
    answer = chat.ask("Weather?")
    assert (answer.status, answer.body["errors"][0]["code"]) == (502, "tool_rounds_exceeded")
    assert len(scripted.chats) == 4
    stored = chat.messages(answer.body["conversation_id"])
    assert [one["role"] for one in stored] == ["user", *["assistant", "tool"] * 4]
    assert [one["status"] for one in stored if one["role"] == "assistant"] == [
        *["complete"] * 3,
        "failed",
    ]
    scripted.always(says("Fine."))
    assert chat.ask("Again?", conversation_id=answer.body["conversation_id"]).status == 200


def test_a_tool_may_use_the_database(chat, scripted, tools):
    scripted.script(calls(Call("asks_the_database")), says("One."))
    assert chat.ask().body["actions_taken"][0]["result"] == 1


def test_tools_of_an_mcp_server_over_its_pipes(chat, scripted, settings, tmp_path, fresh_servers):
    file = tmp_path / "tasks.json"
    server = {"command": sys.executable, "args": [str(EXAMPLE), str(file)]}
    settings.CHAT_MCP_SERVERS = {"tasks": server}
    scripted.script(
        calls(Call("add_task", {"title": "milk"})),
        calls(Call("complete_task", {"task_id": "1"})),
        calls(Call("complete_task", {"task_id": "9"})),
        says("Done."),
    )
    answer = chat.ask("Buy milk")
    assert answer.status == 200
    assert sorted(scripted.chats[0].tools) == ["add_task", "complete_task", "list_tasks"]
    added, completed, missing = answer.body["actions_taken"]
    assert added == {
        "tool": "add_task",
        "result": {"task_id": "1", "title": "milk", "done": False},
        "task_id": "1",
    }
    assert completed["result"]["done"] is True
    assert missing["task_id"] is None
    assert json.loads(file.read_text()) == [{"task_id": "1", "title": "milk", "done": True}]

    # It dies: the next turn starts it again.
    pid = int(subprocess.check_output(["pgrep", "-f", str(file)], text=True).split()[0])
    os.kill(pid, signal.SIGKILL)
    scripted.script(calls(Call("list_tasks")), says("One."))
    again = chat.ask("What is there?")
    assert again.status == 200
    assert "milk" in repr(again.body["actions_taken"][0]["result"])


def test_tools_of_an_mcp_server_over_http(chat, scripted, settings, fresh_servers):
    port = free_port()
    process = subprocess.Popen([sys.executable, EXAMPLE, "--http", str(port)])
    try:
        wait_until(lambda: listens(port), 20)
        settings.CHAT_MCP_SERVERS = {"tasks": {"url": f"http://127.0.0.1:{port}/mcp"}}
        scripted.script(calls(Call("add_task", {"title": "milk"})), says("Done."))
        assert chat.ask("Buy milk").body["actions_taken"][0]["task_id"] == "1"
    finally:
        process.terminate()
        process.wait(10)


def test_a_server_that_is_away_costs_its_tools_alone(chat, scripted, settings, fresh_servers):
    settings.CHAT_MCP_SERVERS = {
        "away": {"url": f"http://127.0.0.1:{free_port()}/mcp"},
        "broken": {"command": sys.executable, "args": ["-c", "raise SystemExit(1)"]},
    }
    began = time.monotonic()
    assert chat.ask().status == 200
    assert time.monotonic() - began < 15


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def results_by_call(messages):
    """What answers each call of a conversation, by the call's arguments."""
    called = [call for one in messages for call in one["tool_calls"] or ()]
    ids = [call["id"] for call in called]
    assert len(set(ids)) == len(ids)
    answered = {one["tool_call_id"]: one["content"] for one in messages if one["role"] == "tool"}
    assert set(answered) == set(ids)
    return [
        (json.loads(call["function"]["arguments"])["city"], answered[call["id"]]) for call in called
    ]


def test_each_call_of_one_id_gets_its_own_result(chat, scripted, tools):
    cities = ("Rome", "Oslo", "Rome")
    scripted.script(
        calls(*(Call("weather", {"city": city}, id="c1") for city in cities)), says("Fine.")
    )
    answer = chat.ask("Weather?")
    assert (answer.status, answer.body["status"]) == (200, "complete")
    expected = [(city, f"Sunny in {city}.") for city in cities]
    assert [one["result"] for one in answer.body["actions_taken"]] == [text for _, text in expected]
    stored = chat.messages(answer.body["conversation_id"])
    assert results_by_call(stored) == expected
    assert stored[1]["tool_calls"][0]["id"] == "c1"
    # The model is shown three calls and three results, too.
    sent = scripted.chats[-1].body["messages"]
    assert [one["content"] for one in sent if one["role"] == "tool"] == [
        text for _, text in expected
    ]


def test_ids_may_begin_anew_in_each_step_and_turn(chat, scripted, tools):
    scripted.script(
        calls(Call("weather", {"city": "Rome"}, id="call_0")),
        calls(Call("weather", {"city": "Oslo"}, id="call_0")),
        says("Fine."),
        calls(Call("weather", {"city": "Bonn"}, id="call_0")),
        says("Fine too."),
    )
    conversation = chat.ask("Weather?").body["conversation_id"]
    assert chat.ask("And there?", conversation_id=conversation).body["response"] == "Fine too."
    expected = [(city, f"Sunny in {city}.") for city in ("Rome", "Oslo", "Bonn")]
    assert results_by_call(chat.messages(conversation)) == expected
    sent = scripted.chats[-1].body["messages"]
    assert [one["content"] for one in sent if one["role"] == "tool"] == [
        text for _, text in expected
    ]
