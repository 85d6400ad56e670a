"""A file of JSON Lines into an empty database, and out of it again: the same bytes."""

import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from conversations.formats import READERS
from conversations.models import Conversation, Message
from conversations.services import (
    SCRIPT,
    MessageDraft,
    append_drafts,
    delete_message,
    export_conversations,
    find_or_create_user,
    review_message,
    update_conversation,
)
from conversations.services.imports import import_conversations
from conversations.tests.factories import access_of, make_conversation, make_user

AT = datetime(2025, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
CALL = {"id": "c", "type": "function", "function": {"name": "find", "arguments": "{}"}}

pytestmark = pytest.mark.django_db


def exported():
    given = {"conversations": Conversation.objects.all(), "file_format": "jsonl"}
    return "".join(export_conversations(access=SCRIPT, **given))


def add(chat, *drafts, **options):
    append_drafts(conversation_id=chat.pk, drafts=list(drafts), access=SCRIPT, **options)


def everything():
    """Conversations of two owners with all that a file has."""
    alice, staff = make_user("alice"), make_user("support", is_staff=True)
    full = make_conversation(
        alice, title="Trains", metadata={"a": 1.5, "b": [None, "é"]}, tags=["x", "y"],
        external_id="E-1", model_used="m",
    )  # fmt: skip
    update_conversation(conversation_id=full.pk, access=SCRIPT, changes={"pinned": True})
    add(
        full,
        MessageDraft(role="user", content="Hi\n\u2028“there”", created_at=AT, extra={"k": [1]}),
        MessageDraft(
            role="assistant", content="Hello", tool_calls=[CALL], model="m", provider="p",
            sources=[{"t": 1}], cost=Decimal("0.0000025"), prompt_tokens=3, rating=-1,
            rating_comment="No", created_at=AT + timedelta(seconds=1), finish_reason="stop",
        ),
        MessageDraft(role="tool", content="", tool_call_id="c", name="find"),
    )  # fmt: skip
    for message in full.messages.in_order()[:2]:
        review_message(
            conversation_id=full.pk, message_id=message.id, score=1, labels=["kind"],
            comment="Well said", access=access_of(staff, reader=True, writer=True),
        )  # fmt: skip
    gaps = make_conversation(alice, 4)
    for place in (1, 0):
        message = gaps.messages.in_order()[place]
        delete_message(conversation_id=gaps.pk, message_id=message.id, access=SCRIPT)
    forked = make_conversation(find_or_create_user("bob", namespace="crm"), 3)
    first = forked.messages.in_order()[0].id
    add(forked, MessageDraft(role="assistant", content="other"), parents=[first])
    add(forked, MessageDraft(role="user", content="again"), parents=["root"])
    update_conversation(conversation_id=forked.pk, access=SCRIPT, changes={"archived": True})
    make_conversation(alice)


def emptied():
    Conversation.objects.all().delete()
    assert not Message.objects.exists()


# The importer has to keep: the ids of conversations and messages, `source`, `updated_at`, the
# sequences with their gaps, reviews with the name of their reviewer, and each line's owner.
@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="the import gives new ids, and reads no reviews"
)
def test_what_is_exported_imported_and_exported_again_is_the_same():
    everything()
    before = exported()
    emptied()
    report = import_conversations(
        chats=READERS["jsonl"](io.BytesIO(before.encode())),
        owner_id=make_user("somebody").pk,
        source="import:jsonl",
    )
    assert not report.rejected
    assert exported() == before


def test_an_export_is_the_same_each_time():
    everything()
    assert exported() == exported()
