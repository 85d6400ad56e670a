"""The triggers of a legal hold: the AccessRecord that they require, and their cost."""

import re

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from conversations.models import Conversation, LegalHoldRecord, Message
from conversations.services import add_message
from conversations.tests.cluster import plan_lines_of, plans_of
from conversations.tests.factories import access_of, make_conversation

TRIGGERS = """
    SELECT tgname FROM pg_trigger WHERE tgname ~ '_hold' AND NOT tgisinternal AND tgenabled = 'O'
"""


@pytest.fixture
def chat(alice):
    return make_conversation(alice, 2)


def record(chat, on_hold):
    LegalHoldRecord.objects.create(user=chat.user, conversation=chat, on_hold=on_hold)


def set_hold(chat, on_hold):
    """Whether the trigger accepts an UPDATE of `legal_hold` without the service."""
    try:
        with transaction.atomic():
            Conversation.objects.filter(pk=chat.pk).update(legal_hold=on_hold)
    except IntegrityError:
        return False
    return True


def test_a_hold_is_released_after_a_record_of_it_and_not_before(chat, bob):
    assert set_hold(chat, True)
    record(make_conversation(bob), False)
    assert not set_hold(chat, False)
    record(chat, True)
    assert not set_hold(chat, False)
    record(chat, False)
    assert set_hold(chat, False)


def test_the_record_of_one_release_does_not_permit_the_next(chat):
    set_hold(chat, True)
    record(chat, False)
    set_hold(chat, False)
    assert not set_hold(chat, True), "a hold that is not on record would end without one"
    record(chat, True)
    assert set_hold(chat, True)
    assert not set_hold(chat, False)


def triggers_called(statement, *values):
    """The triggers that a statement calls, from EXPLAIN ANALYZE."""
    plans = plans_of(statement, values, execute=True)
    found = [trigger for plan in plans for trigger in plan["Triggers"] if trigger["Calls"]]
    # A constraint's trigger, and on a cluster every one, has the number of the shard.
    return {re.sub(r"_\d+$", "", trigger["Trigger Name"]) for trigger in found}


def test_an_append_without_a_hold_calls_no_trigger_of_one(explains, chat, alice, statements):
    reserve = """UPDATE conversations_conversation SET last_sequence = last_sequence + 1,
        message_count = message_count + 1 WHERE id = %s AND user_id = %s"""
    insert = """INSERT INTO conversations_message (user_id, conversation_id, id, sequence, role,
            content, provider, model, status, metadata, created_at, updated_at)
        VALUES (%s, %s, gen_random_uuid(), 99, 'user', 'x', '', '', 'complete', '{}', now(), now())
        """
    assert not [name for name in triggers_called(reserve, chat.pk, alice.pk) if "hold" in name]
    called = triggers_called(insert, alice.pk, chat.pk)
    assert "message_search_insert" in called
    assert not [name for name in called if "hold" in name]
    with statements() as seen:
        add_message(conversation_id=chat.pk, role="user", content="x", access=access_of(alice))
    assert len(seen) == 1
    set_hold(chat, True)
    assert "conversation_hold_update" in triggers_called(reserve, chat.pk, alice.pk)


def test_whether_anything_is_held_is_answered_by_an_index(chat):
    plan = plan_lines_of("SELECT FROM conversations_conversation WHERE legal_hold")
    assert "conversation_held_idx" in str(plan)


def test_without_a_hold_deletion_works(chat, alice):
    alice.delete()
    assert not Message.objects.exists()


@pytest.mark.one_node("migrations before 0018 are not undone on sharded tables")
@pytest.mark.django_db(transaction=True)
def test_the_migrations_can_be_undone_and_done_again():
    def triggers():
        with connection.cursor() as cursor:
            cursor.execute(TRIGGERS)
            return {row[0] for row in cursor.fetchall()}

    before = triggers()
    assert {"conversation_hold_update", "message_hold_turn", "review_hold_truncate"} <= before
    call_command("migrate", "conversations", "0006", verbosity=0)
    try:
        assert triggers() == set()
    finally:
        call_command("migrate", verbosity=0)
    assert triggers() == before
