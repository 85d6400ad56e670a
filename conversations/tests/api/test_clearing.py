"""DELETE …/messages: a conversation loses all of its messages, and stays."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from conversations.models import AccessRecord, Conversation, Message, Review, Status, Tombstone
from conversations.services import (
    SCRIPT,
    MessageDraft,
    append_drafts,
    clear_conversation,
    get_chat_history,
    set_legal_hold,
)
from conversations.services import messages as messages_service
from conversations.services.reviews import review_message
from conversations.tests.api.test_concurrency import at_once
from conversations.tests.api.test_external_ids import error_of
from conversations.tests.chat.turns import begin
from conversations.tests.factories import (
    access_of,
    client_for,
    make_conversation,
    make_staff,
    make_user,
)

pytestmark = pytest.mark.django_db
LIST, SESSIONS = "/api/conversations", "/api/chat-history/sessions"
SAY = {"role": "user", "content": "again"}


@pytest.fixture
def chat(alice):
    return make_conversation(alice, 5, title="Kept", tags=["vip"])


def test_all_messages_are_gone_and_the_sequence_goes_on(api, chat):
    other = make_conversation(chat.user, 2)
    answer = api.delete(f"{LIST}/{chat.pk}/messages")
    assert answer.status_code == 200
    assert answer.json() == {"status": "cleared", "conversation_id": str(chat.pk), "deleted": 5}
    shown = api.get(f"{LIST}/{chat.pk}").json()
    assert (shown["title"], shown["message_count"], shown["messages"]) == ("Kept", 0, [])
    assert api.post(f"{LIST}/{chat.pk}/messages", SAY).json()["sequence"] == 6
    chat.refresh_from_db()
    assert (chat.message_count, chat.last_sequence) == (1, 6)
    assert Message.objects.of(other.user_id, other.pk).count() == 2


def test_by_its_other_name_too(api, chat):
    answer = api.delete(f"{SESSIONS}/{chat.pk}/messages")
    assert answer.json() == {"status": "cleared", "session_id": str(chat.pk), "deleted": 5}


def test_what_is_empty_is_cleared_at_once(api, chat):
    counts = [api.delete(f"{LIST}/{chat.pk}/messages").json()["deleted"] for _ in range(2)]
    assert counts == [5, 0]


def test_a_late_retry_brings_no_message_back(api, chat):
    url, key = f"{LIST}/{chat.pk}/messages", {"headers": {"Idempotency-Key": "k"}}
    assert api.post(url, SAY, **key).status_code == 201
    gone = {message.id for message in get_chat_history(conversation_id=chat.pk)}
    api.delete(url)
    assert error_of(api.post(url, SAY, **key))[::2] == (409, "deleted")
    assert set(Tombstone.objects.values_list("id", flat=True)) == gone
    assert not Message.objects.exists()


def test_reviews_go_with_the_messages(api, chat):
    staff = make_user(
        "reviewer", "rate_message", "view_conversation", "view_message", is_staff=True
    )
    review_message(
        conversation_id=chat.pk,
        message_id=get_chat_history(conversation_id=chat.pk)[1].id,
        score=1,
        access=access_of(staff, reader=True, writer=True),
    )
    api.delete(f"{LIST}/{chat.pk}/messages")
    assert not Review.objects.exists()


def test_a_slash_at_the_end_is_a_message_without_an_id(api, chat):
    assert error_of(api.delete(f"{LIST}/{chat.pk}/messages/")) == (400, "message_id", "required")
    assert Message.objects.count() == 5


def test_a_hold_refuses_it(api, chat):
    set_legal_hold(conversation_id=chat.pk, on_hold=True, access=replace(SCRIPT, reason="a case"))
    assert error_of(api.delete(f"{LIST}/{chat.pk}/messages")) == (409, None, "not_changeable")
    assert Message.objects.count() == 5
    assert not Tombstone.objects.exists()


def test_a_running_answer_refuses_it(api, chat):
    begin(chat.user, conversation_id=chat.pk)
    refused = api.delete(f"{LIST}/{chat.pk}/messages")
    assert error_of(refused) == (409, "conversation_id", "turn_running")
    assert Message.objects.count() == 7


def test_an_abandoned_answer_does_not(api, chat, settings):
    turn = begin(chat.user, conversation_id=chat.pk)
    long_ago = timezone.now() - timedelta(seconds=settings.CHAT_TURN_STALE_SECONDS + 1)
    Message.objects.filter(id=turn.id).update(updated_at=long_ago)
    assert api.delete(f"{LIST}/{chat.pk}/messages").json()["deleted"] == 7


def test_an_answer_whose_process_is_dead_does_not(chat):
    begin(chat.user, conversation_id=chat.pk, runner="gone")
    deleted = clear_conversation(
        conversation_id=chat.pk, access=access_of(chat.user), is_dead=lambda name: name == "gone"
    )
    assert deleted == 7
    assert not Message.objects.filter(status=Status.STREAMING).exists()


def test_staff_leave_a_record_that_says_how_many(chat):
    root = client_for(make_user("root", is_staff=True, is_superuser=True))
    assert root.delete(f"{LIST}/{chat.pk}/messages").status_code == 200
    record = AccessRecord.objects.get()
    assert (record.action, record.conversation_id) == ("delete", chat.pk)
    assert record.detail == {"cleared": True, "messages": 5}
    assert client_for(make_staff()).delete(f"{LIST}/{chat.pk}/messages").status_code == 403


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_batches_leave_nothing_over(monkeypatch, alice, count):
    monkeypatch.setattr(messages_service, "CLEARED_AT_ONCE", 2)
    chat = make_conversation(alice, count)
    assert clear_conversation(conversation_id=chat.pk, access=access_of(alice)) == count
    assert Tombstone.objects.count() == count
    assert not Message.objects.exists()


def test_all_or_none(monkeypatch, alice):
    """A failure after the first batches leaves everything as it was."""
    monkeypatch.setattr(messages_service, "CLEARED_AT_ONCE", 2)
    chat = make_conversation(alice, 5)
    taken = get_chat_history(conversation_id=chat.pk)[3].id
    Tombstone.objects.create(user=alice, conversation_id=chat.pk, id=taken)
    with pytest.raises(Exception, match="tombstone"):
        clear_conversation(conversation_id=chat.pk, access=access_of(alice))
    assert Message.objects.count() == 5
    assert Conversation.objects.get().message_count == 5


@pytest.mark.parametrize("count", [10, 3_000])
def test_the_number_of_statements_does_not_follow_the_length(alice, statements, count):
    chat = make_conversation(alice, count)
    with statements() as seen:
        client_for(alice).delete(f"{LIST}/{chat.pk}/messages")
    of_the_token = ("apitoken", "f_token", "auth")
    assert len([sql for sql in seen if not any(name in sql for name in of_the_token)]) == 5


@pytest.mark.django_db(transaction=True)
def test_an_append_at_the_same_moment_comes_before_or_after():
    alice = make_user("alice")
    chat = make_conversation(alice, 50)
    access = access_of(alice)

    def act(index):
        if index == 0:
            return clear_conversation(conversation_id=chat.pk, access=access)
        drafts = [MessageDraft(role="user", content="x")]
        append_drafts(conversation_id=chat.pk, drafts=drafts, access=access)
        return 0

    cleared = max(at_once(6, act))
    chat.refresh_from_db()
    left = list(Message.objects.order_by("sequence").values_list("sequence", flat=True))
    assert chat.last_sequence == 55
    assert chat.message_count == len(left) == 55 - cleared
    assert left == list(range(cleared + 1, 56))
