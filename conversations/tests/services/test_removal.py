"""Deleting and emptying many conversations: what goes, what is left, and beside whom."""

import threading
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, connections, transaction
from django.utils import timezone

from conversations.formats import MessageDraft
from conversations.models import (
    AccessContext,
    AccessRecord,
    Branch,
    Conversation,
    ConversationNote,
    Message,
    RetentionAct,
    Review,
    Tombstone,
)
from conversations.models.message import EMPTIED
from conversations.selectors.changes import changes_of_owner
from conversations.selectors.retention import Due
from conversations.services import (
    SCRIPT,
    add_message,
    add_note,
    append_drafts,
    find_or_create_user,
    set_legal_hold,
)
from conversations.services import removal as removals
from conversations.services.changes import read_changes
from conversations.services.removal import Removal, Removed
from conversations.tests.branched import regenerated
from conversations.tests.factories import access_of, make_conversation

pytestmark = pytest.mark.django_db
DELETE, EMPTY = RetentionAct.DELETE, RetentionAct.EMPTY


def make_old(conversation, days=100):
    at = timezone.now() - timedelta(days=days)
    Conversation.objects.filter(pk=conversation.pk).update(updated_at=at)
    return conversation


def before(days=90):
    return timezone.now() - timedelta(days=days)


def remove(act=DELETE, name="test", **limits):
    due = Due(act=act, before=limits.pop("before", before()), **limits)
    return Removal(due, {"retention": name}, SCRIPT).run()


def feed(owner):
    found = read_changes(scope=changes_of_owner(owner.pk), after=0, limit=1_000).changes
    return [(one.kind, one.conversation_id) for one in found]


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr(removals, "FIRST", 2)
    monkeypatch.setattr(removals, "MOST", 2)
    monkeypatch.setattr(removals._Pace, "__init__", lambda self: setattr(self, "messages", 2))


def test_what_is_old_goes_and_the_rest_stays(alice, bob):
    old = make_old(make_conversation(alice, 3))
    new = make_conversation(alice, 1)
    others = make_old(make_conversation(bob, 2))
    assert remove() == Removed(conversations=2, messages=5, left=0)
    assert list(Conversation.objects.all()) == [new]
    assert set(Tombstone.objects.values_list("id", flat=True)) == {old.pk, others.pk}
    assert feed(alice)[-1] == ("conversation.deleted", old.pk)


def test_an_owner_is_the_only_one_meant(alice, bob):
    make_old(make_conversation(alice, 1))
    others = make_old(make_conversation(bob, 1))
    assert remove(owner_id=alice.pk).conversations == 1
    assert list(Conversation.objects.all()) == [others]


@pytest.mark.parametrize("limit", ["model_used", "tag", "namespace", "group"])
def test_limits(alice, limit):
    crm = find_or_create_user("alice", namespace="crm")
    group = Group.objects.create(name="Trainees")
    crm.groups.add(group)
    make_old(make_conversation(alice, 1, model_used="other", tags=["kept"]))
    wanted = make_old(make_conversation(crm, 1, model_used="gpt", tags=["spam", "x"]))
    limits = {"model_used": "gpt", "tag": "spam", "namespace": "crm", "group": group.pk}
    name = "group_id" if limit == "group" else limit
    assert remove(**{name: limits[limit]}).conversations == 1
    assert not Conversation.objects.filter(pk=wanted.pk).exists()
    assert Conversation.objects.count() == 1


def test_limits_are_combined(alice):
    make_old(make_conversation(alice, 1, model_used="gpt"))
    make_old(make_conversation(alice, 1, tags=["spam"]))
    both = make_old(make_conversation(alice, 1, model_used="gpt", tags=["spam"]))
    assert remove(model_used="gpt", tag="spam").conversations == 1
    assert not Conversation.objects.filter(pk=both.pk).exists()


def test_pinned_ones_may_be_left_out(alice):
    pinned = make_old(make_conversation(alice, 1))
    Conversation.objects.filter(pk=pinned.pk).update(pinned=True)
    assert remove(keep_pinned=True).conversations == 0
    assert remove().conversations == 1


@pytest.mark.parametrize("act", [DELETE, EMPTY])
def test_a_hold_always_exempts(alice, act):
    held = make_old(make_conversation(alice, 2))
    set_legal_hold(conversation_id=held.pk, on_hold=True, access=AccessContext(None, reason="case"))
    assert remove(act).conversations == 0
    assert Message.objects.filter(emptied_at=None).count() == 2


def test_a_running_answer_exempts(alice):
    chat = make_conversation(alice, 1)
    draft = MessageDraft(role="assistant", status="streaming")
    append_drafts(conversation_id=chat.pk, drafts=[draft], access=access_of(alice))
    make_old(chat)
    assert remove().conversations == 0


def test_each_owner_gets_a_record_with_ids_and_counts(alice, bob):
    chats = [make_old(make_conversation(alice, 2)) for _ in range(3)]
    single = make_old(make_conversation(bob, 1))
    remove(name="old ones")
    record = AccessRecord.objects.get(owner_id=alice.pk)
    assert record.detail.pop("ids") == sorted(str(chat.pk) for chat in chats)
    assert record.detail == {
        "retention": "old ones",
        "act": "delete",
        "conversations": 3,
        "messages": 6,
    }
    assert AccessRecord.objects.get(owner_id=bob.pk).conversation_id == single.pk


def test_many_conversations_make_records_of_bounded_size(alice, monkeypatch):
    monkeypatch.setattr(removals, "NAMED", 3)
    monkeypatch.setattr(removals, "PAGE", 5)
    for days in range(100, 111):
        make_old(make_conversation(alice), days)
    assert remove() == Removed(conversations=11)
    sizes = [len(record.detail["ids"]) for record in AccessRecord.objects.all()]
    assert max(sizes) == 3
    assert sum(sizes) == 11


def test_a_long_conversation_goes_in_parts(alice, small_steps):
    chat = make_old(make_conversation(alice, 7))
    seen = []

    def look(done):
        seen.append(done)

    due = Due(act=DELETE, before=before())
    removal = Removal(due, {"retention": "test"}, SCRIPT, look)
    assert removal.run() == Removed(conversations=1, messages=7)
    assert not Message.objects.exists()
    assert AccessRecord.objects.count() == 4
    # One tombstone is enough once the conversation is gone.
    assert list(Tombstone.objects.values_list("id", flat=True)) == [chat.pk]


def test_what_is_written_to_meanwhile_is_left(alice, small_steps, monkeypatch):
    chat = make_old(make_conversation(alice, 6))
    part = removals._PARTS[DELETE]

    def then_written_to(*given):
        done = part(*given)
        add_message(conversation_id=chat.pk, role="user", content="still here")
        return done

    monkeypatch.setitem(removals._PARTS, DELETE, then_written_to)
    assert remove() == Removed(messages=2, left=1)
    chat.refresh_from_db()
    assert (chat.message_count, chat.last_sequence) == (5, 7)
    assert list(Message.objects.order_by("sequence").values_list("sequence", flat=True)) == [
        *range(3, 8)
    ]
    # A late retry of one that is gone does not bring it back.
    assert Tombstone.objects.count() == 2
    assert feed(alice).count(("message.deleted", chat.pk)) == 2


def test_a_conversation_with_branches_goes_in_parts(alice, small_steps):
    chat = regenerated(alice)
    make_old(chat)
    count = chat.message_count
    assert remove() == Removed(conversations=1, messages=count)
    assert not Branch.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_what_somebody_holds_is_left_without_waiting(alice):
    chat = make_old(make_conversation(alice, 1))
    other = make_old(make_conversation(alice, 1), 120)
    held, finish = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            Conversation.objects.select_for_update().get(user=alice, pk=chat.pk)
            held.set()
            finish.wait(30)
        connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(30)
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '5s'")
        assert remove() == Removed(conversations=1, messages=1, left=1)
    finally:
        finish.set()
        holder.join()
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")
    assert list(Conversation.objects.all()) == [chat]
    assert Tombstone.objects.get().id == other.pk


FULL = {
    "content": "the secret word",
    "parts": [{"type": "text", "text": "secret part"}],
    "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
    "tool_call_id": "call secret",
    "name": "secret name",
    "sources": [{"title": "secret source"}],
    "error": "secret error",
    "metadata": {"secret": 1},
    "extra": {"secret": 2},
}
COUNTS = {
    "role": "assistant",
    "provider": "openai",
    "model": "gpt",
    "prompt_tokens": 3,
    "completion_tokens": 4,
    "latency_ms": 5,
    "finish_reason": "stop",
    "rating": 1,
}


def make_full(owner):
    chat = make_conversation(owner, title="secret title", metadata={"secret": 3}, tags=["t"])
    draft = MessageDraft(**FULL, **COUNTS, rating_comment="secret comment")
    append_drafts(conversation_id=chat.pk, drafts=[draft], access=SCRIPT)
    message = Message.objects.get(conversation=chat)
    add_note(conversation_id=chat.pk, text="secret note", access=SCRIPT)
    Review.objects.create(
        user=owner,
        conversation=chat,
        message_id=message.id,
        reviewer_id=1,
        reviewer_name="r",
        score=1,
        labels=["good"],
        comment="secret review",
    )
    return make_old(chat)


def test_an_emptied_conversation_keeps_its_counts_and_nothing_that_was_said(alice):
    chat = make_full(alice)
    written = Message.objects.get()
    assert remove(EMPTY) == Removed(conversations=1, messages=1)
    message = Message.objects.get()
    assert message.emptied_at is not None
    assert {name: getattr(message, name) for name in EMPTIED} == EMPTIED
    assert {name: getattr(message, name) for name in COUNTS} == COUNTS
    for name in ("id", "sequence", "created_at", "updated_at", "status"):
        assert getattr(message, name) == getattr(written, name)
    kept = Conversation.objects.get()
    assert (kept.title, kept.metadata, kept.tags) == ("New Chat", {}, ["t"])
    assert (kept.message_count, kept.emptied_through, kept.updated_at < before()) == (1, 1, True)
    assert not ConversationNote.objects.exists()
    review = Review.objects.get()
    assert (review.comment, review.score, review.labels) == ("", 1, ["good"])
    with connection.cursor() as cursor:
        for table in ("conversation", "message", "review", "conversationnote"):
            cursor.execute(f"SELECT to_jsonb(t)::text FROM conversations_{table} t")
            assert not [row for (row,) in cursor.fetchall() if "secret" in row], table
    assert feed(alice)[-1] == ("conversation.changed", chat.pk)


def test_what_is_emptied_is_not_emptied_again(alice):
    chat = make_full(alice)
    remove(EMPTY)
    assert remove(EMPTY) == Removed()
    add_message(conversation_id=chat.pk, role="user", content="again")
    chat.refresh_from_db()
    assert chat.title == "again"
    make_old(chat)
    assert remove(EMPTY).conversations == 1
    assert not Message.objects.filter(emptied_at=None).exists()
    assert feed(alice)[-1] == ("conversation.changed", chat.pk)


def test_a_long_conversation_is_emptied_in_parts(alice, small_steps):
    chat = make_old(make_conversation(alice, 5))
    assert remove(EMPTY) == Removed(conversations=1, messages=5)
    chat.refresh_from_db()
    assert (chat.emptied_through, chat.message_count) == (5, 5)
    assert not Message.objects.exclude(content="").exists()


def test_an_interrupted_emptying_goes_on(alice, small_steps, monkeypatch):
    chat = make_old(make_conversation(alice, 5))
    part = removals._PARTS[EMPTY]
    calls = []

    def twice(*given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return part(*given)

    monkeypatch.setitem(removals._PARTS, EMPTY, twice)
    with pytest.raises(KeyboardInterrupt):
        remove(EMPTY)
    chat.refresh_from_db()
    assert chat.emptied_through == 2
    monkeypatch.setitem(removals._PARTS, EMPTY, part)
    assert remove(EMPTY) == Removed(conversations=1, messages=3)


@pytest.mark.parametrize("name", sorted(EMPTIED))
def test_the_database_refuses_an_emptied_message_with_content(alice, name):
    make_full(alice)
    values = EMPTIED | {name: FULL.get(name, "x")} | {"emptied_at": timezone.now()}
    with pytest.raises(IntegrityError, match="message_emptied_is_empty"), transaction.atomic():
        Message.objects.update(**values)


def test_the_database_refuses_other_messages_without_content(alice):
    make_conversation(alice, 1)
    with pytest.raises(IntegrityError, match="message_content_not_empty"), transaction.atomic():
        Message.objects.update(content="")
