"""conversation_stats: the figures are those of the rows."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from conversations.models import Message
from conversations.models.unstored_turn import UnstoredTurn
from conversations.services import MessageDraft, append_drafts, create_conversation
from conversations.tests.factories import access_of

pytestmark = pytest.mark.django_db


def ask(owner, **answer):
    """A conversation with a question and an answer."""
    chat, _ = create_conversation(owner=owner)
    drafts = [
        MessageDraft(role="user", content="Hello"),
        MessageDraft(role="assistant", content="Hi", **answer),
    ]
    append_drafts(conversation_id=chat.pk, drafts=drafts, access=access_of(owner))
    return chat


@pytest.fixture
def chats(alice, bob):
    known = {"provider": "openai", "model": "gpt-4o", "prompt_tokens": 10, "completion_tokens": 5}
    ask(alice, **known, cost=Decimal("0.25"), latency_ms=100, rating=1)
    ask(alice, **known, latency_ms=300)
    ask(bob, provider="ollama", model="llama3.2", prompt_tokens=1)
    UnstoredTurn.objects.create(
        user=bob, provider="openai", model="gpt-4o", status="complete", prompt_tokens=100
    )


@pytest.fixture
def stats(capsys):
    def run(*arguments):
        call_command("conversation_stats", "--json", *arguments)
        return json.loads(capsys.readouterr().out)

    return run


def test_of_all_users(chats, stats):
    found = stats()
    assert found["user"] is None
    assert (found["conversations"], found["new_conversations"]) == (3, 3)
    assert (found["messages"], found["users"], found["answers"]) == (6, 2, 3)
    assert found["turns"] == 4  # one is not stored
    assert (found["prompt_tokens"], found["completion_tokens"]) == (121, 10)
    assert (Decimal(found["cost"]), found["currency"]) == (Decimal("0.25"), "USD")
    assert (found["good"], found["bad"], found["failed"]) == (1, 0, 0)
    assert found["latency_ms"] == [200.0, 290.0]
    models = [(row["provider"], row["model"], row["answers"]) for row in found["models"]]
    assert models == [("openai", "gpt-4o", 3), ("ollama", "llama3.2", 1)]
    assert [row["messages"] for row in found["days"]] == [6]


def test_of_one_user(chats, stats):
    found = stats("--user", "alice")
    assert (found["user"], found["conversations"], found["messages"]) == ("alice", 2, 4)
    assert (found["prompt_tokens"], found["users"]) == (20, 1)
    assert [row["model"] for row in found["models"]] == ["gpt-4o"]


def test_since_a_day(chats, stats, alice):
    old = timezone.now() - timedelta(days=40)
    Message.objects.filter(user=alice).update(created_at=old)
    assert stats()["messages"] == 2
    assert stats("--since", "41d")["messages"] == 6
    assert stats("--since", f"{old:%Y-%m-%d}")["messages"] == 6
    assert stats("--since", "0d")["messages"] == 2
    assert stats("--user", "alice")["messages"] == 0


def test_an_empty_database(stats):
    found = stats()
    assert (found["conversations"], found["messages"], found["models"]) == (0, 0, [])


def test_as_a_table(chats, capsys):
    call_command("conversation_stats")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("of all users")
    assert ["NEW", "CONVERSATIONS", "3"] in [line.split() for line in lines]
    assert ["openai", "gpt-4o", "3", "120", "10", "0.2500", "USD"] in [
        line.split() for line in lines
    ]


@pytest.mark.parametrize("since", ["tomorrow", "9999-01-01", "-3d", "2026-13-01", "30", "99999d"])
def test_a_wrong_time_is_refused(since):
    with pytest.raises(CommandError, match="--since"):
        call_command("conversation_stats", f"--since={since}")


@pytest.mark.parametrize("name", ["nobody", " "])
def test_nobody_of_that_name(name):
    with pytest.raises(CommandError) as refused:
        call_command("conversation_stats", user=name)
    assert refused.value.returncode == 2
