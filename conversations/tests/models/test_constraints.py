"""Constraints of the database, tested without the services."""

import pytest
from django.db import IntegrityError, connection, transaction

from conversations.models import Conversation, Message
from conversations.tests.factories import make_conversation

pytestmark = pytest.mark.django_db


def refused_by(constraint, **fields):
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        Message.objects.create(**fields)
    return constraint in str(caught.value)


@pytest.fixture
def chat(alice):
    return make_conversation(alice)


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        ("message_role_known", {"role": "User"}),
        ("message_status_known", {"status": "done"}),
        ("message_sequence_positive", {"sequence": 0}),
        ("message_rating_known", {"rating": 2}),
        ("message_content_not_empty", {"content": ""}),
        ("message_content_not_empty", {"content": "", "tool_calls": []}),
        ("message_metadata_is_object", {"metadata": [1]}),
        ("message_parts_is_array", {"parts": {"a": 1}}),
        ("message_sources_is_array", {"sources": "x"}),
    ],
)
def test_a_message_that_violates_a_constraint_is_rejected(chat, constraint, fields):
    good = {"user": chat.user, "conversation": chat, "sequence": 1, "role": "user", "content": "x"}
    assert refused_by(constraint, **good | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_calls": [{"id": "c"}]},
        {"parts": [{"type": "image_url"}]},
        {"role": "tool"},
        {"status": "streaming"},
        {"status": "failed"},
    ],
)
def test_content_may_be_empty_with_other_data(chat, fields):
    Message.objects.create(
        **{
            "user": chat.user,
            "conversation": chat,
            "sequence": 1,
            "role": "assistant",
            "content": "",
        }
        | fields
    )


def test_a_sequence_is_unique_in_a_conversation(chat, alice):
    Message.objects.create(user=chat.user, conversation=chat, sequence=1, role="user", content="x")
    same = {"user": chat.user, "conversation": chat, "sequence": 1, "role": "user", "content": "y"}
    assert refused_by("message_sequence_unique", **same)
    Message.objects.create(**same | {"conversation": make_conversation(alice)})


def test_one_answer_of_a_branch_streams_at_a_time(chat):
    row = {"user": chat.user, "conversation": chat, "role": "assistant", "status": "streaming"}
    Message.objects.create(**row, sequence=1)
    assert refused_by("message_one_streaming_each", **row, sequence=2)
    Message.objects.create(**row, sequence=2, branch=1)


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        ("conversation_title_not_empty", {"title": ""}),
        ("conversation_metadata_is_object", {"metadata": []}),
        ("conversation_count_within_sequence", {"message_count": 2, "last_sequence": 1}),
    ],
)
def test_a_conversation_that_violates_a_constraint_is_rejected(alice, constraint, fields):
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Conversation.objects.create(user=alice, **fields)


def test_deleting_a_user_cascades_in_the_database(alice, bob, statements):
    for _ in range(20):
        make_conversation(alice, messages=3)
    kept = make_conversation(bob, messages=2)
    with statements() as seen:
        alice.delete()
    assert not any("conversations_" in sql for sql in seen)
    assert list(Conversation.objects.all()) == [kept]
    assert set(Message.objects.values_list("conversation", flat=True)) == {kept.pk}


def test_every_unique_constraint_on_messages_begins_with_owner_and_conversation():
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'conversations_message'")
        unique = [row[0] for row in cursor.fetchall() if "UNIQUE" in row[0]]
    assert len(unique) == 3
    assert all("(user_id, conversation_id" in definition for definition in unique)
