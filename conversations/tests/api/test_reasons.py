"""Why staff look: asked over the API where CHAT_REQUIRE_READ_REASON is set, kept in the trail."""

import pytest
from django.contrib.auth.models import User

from conversations.models import AccessRecord, Conversation, Message
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.services.audit import MAX_REASON_CHARS
from conversations.tests.factories import client_for, make_conversation

pytestmark = pytest.mark.django_db

LOOKS = [
    "/api/conversations?user_id=alice",
    "/api/users/alice/conversations",
    "/api/conversations/{chat}",
    "/api/conversations/{chat}/messages",
    "/api/conversations/{chat}/messages/{message}",
    "/api/chat-history/sessions?user_id=alice",
    "/api/chat-history/sessions/{chat}",
    "/api/chat/history/{chat}",
    "/api/chat/streams/{answer}",
    "/api/search?q=secret&user_id=alice",
    "/api/search?q=secret&user_id=*",
    "/api/search?q=secret&conversation_id={chat}",
]


@pytest.fixture
def chat(alice):
    chat = make_conversation(alice, title="x")
    drafts = [
        MessageDraft(role="user", content="A secret."),
        MessageDraft(role="assistant", content="A secret kept."),
    ]
    append_drafts(conversation_id=chat.pk, drafts=drafts, access=SCRIPT)
    return chat


@pytest.fixture
def look(chat):
    question, answer = chat.messages.in_order()

    def look(user, path, **headers):
        url = path.format(chat=chat.pk, message=question.id, answer=answer.id)
        return client_for(user).get(url, headers=headers)

    return look


@pytest.mark.parametrize("path", LOOKS)
def test_staff_say_why_before_anything_is_shown(look, staff, settings, path):
    settings.CHAT_REQUIRE_READ_REASON = True
    answer = look(staff, path)
    assert answer.status_code == 403
    assert "ecret" not in answer.content.decode()
    error = answer.json()["errors"][0]
    assert (error["code"], error["attr"]) == ("reason_required", "Access-Reason")
    assert not AccessRecord.objects.exists()
    assert look(staff, path, access_reason="   ").status_code == 403

    answer = look(staff, path, access_reason=" Ticket  4711")
    assert answer.status_code == 200
    assert AccessRecord.objects.get().reason == "Ticket 4711"


@pytest.mark.parametrize("path", LOOKS[2:4])
def test_nobody_else_is_asked(look, alice, trusted, settings, path):
    settings.CHAT_REQUIRE_READ_REASON = True
    assert look(alice, path).status_code == 200
    assert look(trusted, path).status_code == 200
    assert not AccessRecord.objects.exists()


def test_staff_read_and_search_their_own_without_a_reason(staff, settings):
    settings.CHAT_REQUIRE_READ_REASON = True
    own = make_conversation(staff, 2, title="x")
    client = client_for(staff)
    for path in ("conversations", f"conversations/{own.pk}", "search?q=message"):
        assert client.get(f"/api/{path}").status_code == 200
    found = client.get("/api/search", {"q": "message", "conversation_id": own.pk})
    assert len(found.json()["results"]) == 2
    assert not AccessRecord.objects.exists()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("Fall 12: Umlaut \u00e4", "Fall 12: Umlaut \u00e4"), ("\u4e2d", "\u4e2d")],
)
def test_a_reason_may_be_given_unasked_in_any_script(look, staff, sent, kept):
    header = sent.encode().decode("latin-1")
    assert look(staff, LOOKS[2], access_reason=header).status_code == 200
    assert AccessRecord.objects.get().reason == kept


@pytest.mark.parametrize(("path", "status"), [(LOOKS[2], 400), (LOOKS[6], 422)])
def test_a_reason_too_long_is_refused_by_name(look, staff, path, status):
    answer = look(staff, path, access_reason="x" * (MAX_REASON_CHARS + 1))
    assert answer.status_code == status
    assert "Access-Reason" in answer.content.decode()
    assert not AccessRecord.objects.exists()


WRITES = [
    ("post", "/api/conversations", {"user_id": "alice"}),
    ("post", "/api/conversations?user_id=alice", None),
    ("patch", "/api/conversations/{chat}", {}),
    ("delete", "/api/conversations/{chat}", None),
    ("post", "/api/conversations/{chat}/messages", {"role": "user", "content": "x"}),
    ("patch", "/api/conversations/{chat}/messages/{message}", {}),
    ("delete", "/api/conversations/{chat}/messages/{message}", None),
    ("post", "/api/chat-history/sessions", {"user_id": "alice"}),
    ("patch", "/api/chat-history/sessions/{chat}", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_a_superuser_says_why_before_anything_is_changed(chat, settings, method, path, body):
    settings.CHAT_REQUIRE_READ_REASON = True
    client = client_for(User.objects.create_superuser("root"))
    url = path.format(chat=chat.pk, message=chat.messages.first().id)
    refused = getattr(client, method)(url, body)
    assert refused.status_code == 403
    assert refused.json()["errors"][0]["code"] == "reason_required"
    assert "ecret" not in refused.content.decode()
    assert not AccessRecord.objects.exists()
    assert (Conversation.objects.count(), Message.objects.count()) == (1, 2)
    done = getattr(client, method)(url, body, headers={"Access-Reason": "Ticket 4711"})
    assert done.status_code < 300
    assert AccessRecord.objects.get().reason == "Ticket 4711"
