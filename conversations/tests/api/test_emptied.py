"""Emptied messages over HTTP: read as such, changed no more, shown to no model, exported."""

import io
import json

import pytest
from django.utils import timezone

from conversations.chat.llm.context_window import history_before
from conversations.formats import READERS
from conversations.models import Conversation, Message
from conversations.selectors.retention import Due
from conversations.services import SCRIPT, export_conversations, import_conversations
from conversations.services.removal import Removal
from conversations.tests.admin.conftest import signed_in, text_of, transcript_url
from conversations.tests.factories import client_for, make_conversation, make_superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def chat(alice):
    chat = make_conversation(alice, 2, title="Trip", metadata={"a": 1})
    Removal(Due(act="empty"), {"retention": "test"}, SCRIPT).run()
    return chat


@pytest.fixture
def path(chat):
    return f"/api/conversations/{chat.pk}"


def test_readers_see_that_it_was_emptied(alice, path):
    api = client_for(alice)
    shown = api.get(path).json()
    assert (shown["title"], shown["metadata"], shown["emptied_through"]) == ("New Chat", {}, 2)
    messages = api.get(f"{path}/messages").json()["messages"]
    assert [one["content"] for one in messages] == ["", ""]
    assert all(one["emptied_at"] for one in messages)


def test_nothing_of_it_is_changed(alice, path):
    answer = Message.objects.get(role="assistant")
    refused = client_for(alice).patch(f"{path}/messages/{answer.id}", {"rating": 1})
    assert refused.status_code == 409
    assert refused.json()["errors"][0]["code"] == "emptied"


def test_nobody_sends_the_fields(alice, path):
    api = client_for(alice)
    sent = {"role": "user", "content": "", "emptied_at": timezone.now().isoformat()}
    error = api.post(f"{path}/messages", sent).json()["errors"][0]
    assert (error["attr"], error["code"]) == ("emptied_at", "read_only")
    error = api.patch(path, {"emptied_through": 0}).json()["errors"][0]
    assert (error["attr"], error["code"]) == ("emptied_through", "read_only")


def test_it_goes_on(alice, path, chat):
    api = client_for(alice)
    assert api.post(f"{path}/messages", {"role": "user", "content": "Again"}).status_code == 201
    assert api.get(path).json()["title"] == "Again"
    shown = history_before(alice.pk, chat.pk, last_sequence=3)
    assert [item["content"] for item in shown] == ["Again"]


def test_its_question_is_not_answered_again(alice, path):
    answer = Message.objects.get(role="assistant")
    refused = client_for(alice).post("/api/chat", {"regenerate": str(answer.id)})
    assert refused.status_code == 409
    assert refused.json()["errors"][0]["code"] == "no_question"


def test_staff_see_that_it_was_emptied(chat):
    page = text_of(signed_in(make_superuser()).get(transcript_url(chat)))
    assert page.count("Emptied by a retention rule on") == 2


def exported(chat):
    chosen = Conversation.objects.filter(pk=chat.pk)
    return "".join(export_conversations(conversations=chosen, file_format="jsonl", access=SCRIPT))


def imported(text, owner):
    chats = READERS["jsonl"](io.BytesIO(text.encode()))
    return import_conversations(chats=chats, owner_id=owner.pk, source="import:json")


def test_an_export_comes_back(bob, chat):
    written = exported(chat)
    imported(written, bob)
    again = json.loads(exported(Conversation.objects.get(user=bob)))
    names = ("role", "content", "emptied_at", "created_at")
    before, after = (
        [[one[name] for name in names] for one in each["messages"]]
        for each in (json.loads(written), again)
    )
    assert before == after


def test_a_file_with_content_in_an_emptied_message_is_rejected(bob, chat):
    record = json.loads(exported(chat))
    record["messages"][0]["content"] = "Hello"
    report = imported(json.dumps(record), bob)
    assert not Conversation.objects.filter(user=bob).exists()
    assert "messages.0.content: A message with `emptied_at`" in str(report)
