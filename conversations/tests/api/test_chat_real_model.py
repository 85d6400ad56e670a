"""The real thing: `quickstart` with nothing configured answers from SmolLM2."""

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings

from chatproject.embedded_model import is_installed
from conversations.tests.chat.clients import ChatClient, names_of, text_of
from conversations.tests.commands.test_quickstart import data, quickstart

__all__ = ["data"]

pytestmark = pytest.mark.skipif(
    not is_installed(), reason="THE EMBEDDED MODEL IS NOT TESTED: `make model` installs it"
)


def test_a_new_installation_chats(data, monkeypatch):
    for name in ("CHAT_PROVIDER", "CHAT_PROVIDERS", "CHAT_TOOLS", "CHAT_MODES"):
        monkeypatch.setenv(name, {"CHAT_PROVIDERS": "{}"}.get(name, ""))
    monkeypatch.delenv("CHAT_PROVIDER")
    with quickstart(data) as (process, port, _):
        try:
            messages = chat_with(ChatClient(f"http://127.0.0.1:{port}", token_for("alice", data)))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert process.returncode == 0
    assert not list(data.rglob("server.json"))
    assert [one["role"] for one in messages] == ["user", "assistant"] * 2
    for said in messages[1::2]:
        assert said["status"] == "complete"
        assert said["prompt_tokens"] > 10
        assert said["completion_tokens"] > 1
        assert said["latency_ms"] > said["first_token_ms"] > 0


def chat_with(client):
    """A question by POST and one by EventSource; the messages that are then there."""
    answer = client.ask("What is the capital of France?")
    assert answer.status == 200, answer.body
    body = answer.body
    assert (body["provider"], body["model"]) == ("embedded", "SmolLM2-135M-Instruct")
    assert body["response"]
    conversation = body["conversation_id"]
    events = list(client.ask_stream("And of Italy?", session_id=conversation))
    assert names_of(events) == ["start", "delta", "done"]
    assert text_of(events) == events[-1].data["response"]
    return client.messages(conversation)


def token_for(user, folder):
    command = [sys.executable, settings.BASE_DIR / "manage.py", "create_token", user]
    embedded = {"CHATPROJECT_DATA": str(folder), "DATABASE_URL": "", "CHATPROJECT_DURABLE": "false"}
    done = subprocess.run(command, env=os.environ | embedded, capture_output=True, check=True)
    return done.stdout.decode().strip()
