"""People, conversations and messages to test with, made through the services."""

from __future__ import annotations

from pathlib import Path

from django.contrib.auth.models import Permission, User
from django.utils import timezone
from rest_framework.test import APIClient

from conversations.models import AccessContext, ApiToken, Caller, Conversation
from conversations.services import (
    SCRIPT,
    MessageDraft,
    append_drafts,
    create_conversation,
    create_token,
)

# OpenAI chat JSONL with tool calls of another system: 5 conversations, 58 messages, 8 calls.
DATA = Path(__file__).parent / "data"
BOOKINGS_FILE = DATA / "bookings.openai.jsonl"


def make_user(username="alice", *permissions, **fields):
    user = User.objects.create_user(username=username, **fields)
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    return user


def make_trusted(username="backend"):
    """A user whose tokens, made by `client_for`, act for others."""
    user = make_user(username)
    user.trusted = True
    return user


def make_staff(username="support"):
    return make_user(username, "view_conversation", "view_message", is_staff=True)


def make_superuser(username="root"):
    return make_user(username, is_staff=True, is_superuser=True)


def make_conversation(user, messages=0, **fields) -> Conversation:
    """A conversation with that many alternating user and assistant messages."""
    conversation, _ = create_conversation(owner=user, **fields)
    if messages:
        fill(conversation, messages)
        conversation.refresh_from_db()
    return conversation


def fill(conversation, count):
    roles = ("user", "assistant")
    drafts = [MessageDraft(role=roles[i % 2], content=f"message {i + 1}") for i in range(count)]
    for start in range(0, count, 1_000):
        append_drafts(
            conversation_id=conversation.pk, drafts=drafts[start : start + 1_000], access=SCRIPT
        )


def access_of(user, **rights) -> AccessContext:
    return AccessContext(Caller(user, **rights))


def make_token(user, **options) -> str:
    """In use already, so that no test counts the statement that notes the first use."""
    options = {"trusted": getattr(user, "trusted", False)} | options
    row, text = create_token(user=user, access=SCRIPT, **options)
    ApiToken.objects.filter(pk=row.pk).update(last_used_at=timezone.now())
    return text


def client_for(user, **options) -> APIClient:
    """An HTTP client with a token of this user; without one for None."""
    client = APIClient()
    if user is not None:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_token(user, **options)}")
    return client
