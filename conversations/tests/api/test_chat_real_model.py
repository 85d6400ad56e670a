"""The real thing: `quickstart` with nothing configured answers from SmolLM2."""

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings
from openai import OpenAI

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
            url, token = f"http://127.0.0.1:{port}", token_for("alice", data)
            messages = chat_with(ChatClient(url, token))
            forward(f"{url}/v1", token)
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


def forward(url, token):
    """The same model by OpenAI's client: whole, streamed, and in JSON."""
    with OpenAI(base_url=url, api_key=token, _strict_response_validation=True) as client:
        (model,) = [one.id for one in client.models.list() if one.owned_by == "embedded"]
        asked = {"model": model, "messages": [{"role": "user", "content": "Say hello."}]}
        whole = client.chat.completions.create(**asked, max_tokens=20)
        assert whole.choices[0].message.content
        assert whole.usage.completion_tokens > 0
        options = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = list(client.chat.completions.create(**asked, max_tokens=20, **options))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert chunks[-1].usage.completion_tokens > 0
        json_only = {"response_format": {"type": "json_object"}}
        structured = client.chat.completions.create(**asked, **json_only, max_tokens=200)
        assert structured.choices[0].message.content.lstrip()[:1] in ("{", "[")
        assert len(list(client.chat.completions.list())) == 5


def token_for(user, folder):
    command = [sys.executable, settings.BASE_DIR / "manage.py", "create_token", user]
    embedded = {"CHATPROJECT_DATA": str(folder), "DATABASE_URL": "", "CHATPROJECT_DURABLE": "false"}
    done = subprocess.run(command, env=os.environ | embedded, capture_output=True, check=True)
    return done.stdout.decode().strip()
