import uuid

import pytest
from django.db import connection
from django.utils import timezone

from conversations.models import Conversation, Message
from conversations.services import (
    SCRIPT,
    InvalidValue,
    KeyReused,
    NotAllowed,
    NotFound,
    OnLegalHold,
    create_conversation,
    delete_conversation,
    get_or_create_conversation,
    get_or_create_latest,
    get_user_conversations,
    update_conversation,
)
from conversations.tests.cluster import plans_of
from conversations.tests.factories import access_of, fill, make_conversation

pytestmark = pytest.mark.django_db


def test_get_or_create_makes_the_user_and_the_conversation_once():
    first = get_or_create_conversation(user_id="newcomer")
    assert first == get_or_create_conversation(user_id="newcomer")
    assert first.title == "New Chat"
    assert not first.user.has_usable_password()


@pytest.mark.one_node("the plan is that of a shard")
def test_the_latest_one_is_one_look_up_however_many_newer_ones_are_archived(alice, statements):
    latest = make_conversation(alice)
    now = timezone.now()
    Conversation.objects.bulk_create(
        Conversation(user=alice, archived_at=now, updated_at=now) for _ in range(3_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE conversations_conversation")
    with statements() as seen:
        assert get_or_create_latest(owner=alice) == (latest, False)
    (sql,) = seen
    (plan,) = plans_of(sql, execute=True)
    assert "conversation_latest_idx" in str(plan)
    assert "Rows Removed by Filter" not in str(plan)


def test_get_or_create_finds_the_latest_activity_that_is_not_archived(alice):
    old, new, archived = (make_conversation(alice) for _ in range(3))
    fill(old, 1)
    assert get_or_create_conversation(user_id="alice") == old
    fill(archived, 1)
    update_conversation(conversation_id=archived.pk, changes={"archived": True}, access=SCRIPT)
    assert get_or_create_conversation(user_id="alice") == old
    assert new in get_user_conversations(user_id="alice")


def test_a_users_conversations_come_newest_first(alice, bob):
    chats = [make_conversation(alice) for _ in range(3)]
    make_conversation(bob)
    fill(chats[0], 1)
    assert get_user_conversations(user_id="alice") == [chats[0], chats[2], chats[1]]
    assert get_user_conversations(user_id="nobody") == []
    assert get_user_conversations(user_id="alice", limit=1) == [chats[0]]


def test_creating_again_under_the_same_id_gives_what_is_stored(alice, bob):
    given = {"owner": alice, "id": uuid.uuid4(), "title": "One", "metadata": {"a": 1}}
    first, first_created = create_conversation(**given)
    again, again_created = create_conversation(**given)
    assert (first_created, again_created) == (True, False)
    assert again == first
    for other in ({"title": "Two"}, {"metadata": {}}, {"model_used": "m"}, {"owner": bob}):
        with pytest.raises(KeyReused):
            create_conversation(**given | other)


def test_creating_again_after_it_was_renamed_or_used_is_still_the_same_request(alice):
    given = {"owner": alice, "id": uuid.uuid4(), "title": "One"}
    chat, _ = create_conversation(**given)
    update_conversation(conversation_id=chat.pk, changes={"title": "Renamed"}, access=SCRIPT)
    assert create_conversation(**given)[0].title == "Renamed"


def test_a_new_title_does_not_move_a_conversation_up(alice):
    old, new = make_conversation(alice), make_conversation(alice)
    update_conversation(
        conversation_id=old.pk, changes={"title": "Renamed", "pinned": True}, access=SCRIPT
    )
    assert get_user_conversations(user_id="alice") == [new, old]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"title": "  "}, "title"),
        ({"title": "x" * 256}, "title"),
        ({"title": "\x00"}, "title"),
        ({"metadata": {"a": float("inf")}}, "metadata.a"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_bad_changes_are_refused_by_name(alice, changes, field):
    chat = make_conversation(alice, title="Kept")
    with pytest.raises(InvalidValue) as caught:
        update_conversation(conversation_id=chat.pk, changes=changes, access=SCRIPT)
    assert caught.value.field == field
    chat.refresh_from_db()
    assert chat.title == "Kept"


def test_archiving_twice_keeps_the_first_time(alice):
    chat = make_conversation(alice)
    first = update_conversation(conversation_id=chat.pk, changes={"archived": True}, access=SCRIPT)
    again = update_conversation(conversation_id=chat.pk, changes={"archived": True}, access=SCRIPT)
    assert first.archived_at == again.archived_at
    back = update_conversation(conversation_id=chat.pk, changes={"archived": False}, access=SCRIPT)
    assert back.archived_at is None


def test_deleting_takes_the_messages_along(alice):
    chat = make_conversation(alice, messages=3)
    delete_conversation(conversation_id=chat.pk, access=SCRIPT)
    assert (Conversation.objects.count(), Message.objects.count()) == (0, 0)


def test_a_conversation_on_legal_hold_cannot_be_deleted(alice):
    chat = make_conversation(alice)
    Conversation.objects.update(legal_hold=True)
    with pytest.raises(OnLegalHold):
        delete_conversation(conversation_id=chat.pk, access=access_of(alice))
    assert Conversation.objects.count() == 1


def test_a_stranger_cannot_tell_that_it_exists_and_staff_may_only_read(alice, bob, staff):
    chat = make_conversation(alice)
    for missing in (chat.pk, uuid.uuid4()):
        with pytest.raises(NotFound):
            delete_conversation(conversation_id=missing, access=access_of(bob))
    with pytest.raises(NotAllowed):
        delete_conversation(conversation_id=chat.pk, access=access_of(staff, reader=True))
