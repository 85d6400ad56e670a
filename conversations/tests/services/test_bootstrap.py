import json
import re
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from conversations.models import Conversation, Message
from conversations.services.bootstrap import SAMPLE_FILE, create_admin, find_admin, load_sample

pytestmark = pytest.mark.django_db


def test_the_administrator_ends_the_first_run_and_can_log_in():
    assert find_admin() is None
    password = create_admin()
    assert find_admin() == "admin"
    admin = User.objects.get(username="admin")
    assert admin.is_superuser
    assert admin.is_staff
    assert admin.check_password(password)
    assert len(password) >= 16
    assert password not in admin.password


def test_a_renamed_administrator_is_still_one():
    create_admin()
    User.objects.update(username="root")
    assert find_admin() == "root"


def test_an_ordinary_user_named_admin_is_not_promoted():
    User.objects.create_user("admin")
    assert create_admin() is None
    assert not User.objects.get().is_superuser


def test_the_sample_belongs_to_its_own_user_and_is_loaded_once():
    report = load_sample()
    assert (report.created, report.rejected) == (20, [])
    again = load_sample()
    assert (again.created, again.already_there, again.rejected) == (0, 20, [])
    assert set(Conversation.objects.values_list("user__username", flat=True)) == {"sample"}


def test_the_newest_message_of_the_sample_is_as_old_as_the_installation():
    before = timezone.now()
    load_sample()
    newest = Message.objects.order_by("-created_at")[0].created_at
    assert before <= newest <= timezone.now()
    assert Conversation.objects.newest_first()[0].updated_at == newest
    assert not Conversation.objects.filter(archived_at__gt=newest).exists()
    days = {
        created_at.date() for created_at in Message.objects.values_list("created_at", flat=True)
    }
    assert len(days) >= 10
    assert newest - min(Message.objects.values_list("created_at", flat=True)) < timedelta(days=14)


def test_the_sample_keeps_the_intervals_of_its_file():
    load_sample()
    line = json.loads(SAMPLE_FILE.read_text().splitlines()[0])
    stored = Conversation.objects.get(title=line["title"]).messages.in_order()
    written = [datetime.fromisoformat(said["created_at"]) for said in line["messages"]]
    kept = [message.created_at for message in stored]
    assert [time - kept[0] for time in kept] == [time - written[0] for time in written]


@pytest.fixture
def sample(db):
    """The messages of the sample, a list for each conversation."""
    load_sample()
    return [list(chat.messages.in_order()) for chat in Conversation.objects.all()]


# What a first look at the admin and the API is to show.
SHOWN = {
    "several tool calls in one step": lambda m: len(m.tool_calls or ()) > 1,
    "a tool that failed": lambda m: m.role == "tool" and '"error"' in m.content,
    "a result without rows": lambda m: m.role == "tool" and m.content == "[]",
    "a regenerated answer": lambda m: m.metadata.get("regenerated"),
    "sources": lambda m: m.sources and {"title", "url", "score", "text"} <= m.sources[0].keys(),
    "a good rating": lambda m: m.rating == 1 and m.rating_comment,
    "a bad rating": lambda m: m.rating == -1 and m.rating_comment,
    "a failed answer": lambda m: m.status == "failed" and m.error,
    "a stopped answer": lambda m: m.status == "stopped" and m.content,
    "an interrupted answer": lambda m: m.status == "interrupted" and m.content and m.error,
    "a system message": lambda m: m.role == "system",
    "a developer message": lambda m: m.role == "developer",
    "Python": lambda m: "```python" in m.content,
    "SQL": lambda m: "```sql" in m.content,
    "JSON": lambda m: "```json" in m.content,
    "a table": lambda m: "|---" in m.content,
    "a formula": lambda m: "$$" in m.content,
    "an image": lambda m: m.parts and any(part["type"] == "image_url" for part in m.parts),
    "Japanese": lambda m: re.search("[\u3040-\u30ff]", m.content),
    "Arabic": lambda m: re.search("[\u0600-\u06ff]", m.content),
    "a mode": lambda m: m.detected_mode,
}


def test_the_sample_shows_what_a_message_can_hold(sample):
    messages = [message for chat in sample for message in chat]
    assert [name for name, holds in SHOWN.items() if not any(map(holds, messages))] == []


def test_the_sample_shows_what_a_conversation_can_hold(sample):
    chats = Conversation.objects.all()
    assert chats.filter(pinned=True).exists()
    assert chats.exclude(archived_at=None).exists()
    assert max(map(len, sample)) > 60
    languages = set(chats.values_list("metadata__language", flat=True))
    assert languages == {"en", "de", "fr", "es", "ja", "ar"}
    assert len(set(chats.values_list("title", flat=True))) == 20


def test_answers_of_the_sample_have_their_model_tokens_and_times(sample):
    answers = [message for chat in sample for message in chat if message.role == "assistant"]
    assert all(answer.latency_ms for answer in answers)
    complete = [answer for answer in answers if answer.status == "complete"]
    assert all(answer.prompt_tokens and answer.completion_tokens for answer in complete)
    assert len({(answer.provider, answer.model) for answer in answers}) >= 4
    others = [message for chat in sample for message in chat if message.role != "assistant"]
    assert {(message.provider, message.model) for message in others} == {("", "")}


def test_each_tool_call_of_the_sample_has_its_result(sample):
    for chat in sample:
        calls = [call["id"] for message in chat for call in message.tool_calls or ()]
        results = [message.tool_call_id for message in chat if message.role == "tool"]
        assert calls == results
        for message in chat:
            for call in message.tool_calls or ():
                assert isinstance(json.loads(call["function"]["arguments"]), dict)


def test_the_sample_names_its_licence():
    text = (SAMPLE_FILE.parent / "README.md").read_text()
    assert SAMPLE_FILE.name in text
    assert "MIT" in text


def test_addresses_in_the_sample_lead_nowhere():
    hosts = re.findall(r"https?://([^/\s\"\\)]+)", SAMPLE_FILE.read_text())
    assert {host.rpartition(".")[2] for host in hosts} == {"example"}
