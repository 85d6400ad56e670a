"""The feed of changes: what is in it, whatever wrote it, and in which order."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from conversations.api.queries import CONVERSATION_COLUMNS
from conversations.chat.runtime.reaper import tend_changes
from conversations.formats import Chat, MessageDraft
from conversations.models import (
    AccessContext,
    Caller,
    Change,
    ChangeFeed,
    Conversation,
    PendingChange,
)
from conversations.selectors import changes as selectors
from conversations.selectors.changes import changes_of_everybody, changes_of_owner
from conversations.services import (
    Gone,
    add_message,
    add_messages,
    changes,
    create_conversation,
    delete_conversation,
    delete_message,
    erase_user,
    find_or_create_user,
    get_chat_history,
    import_conversations,
    set_legal_hold,
    update_conversation,
    update_message,
)
from conversations.services.changes import read_changes, sequence_changes
from conversations.services.turns import finish_turn, save_progress
from conversations.tests.chat.turns import begin, ended, with_text
from conversations.tests.factories import access_of, fill, make_conversation, make_user

pytestmark = pytest.mark.django_db
CREATED, CHANGED, DELETED = (f"conversation.{what}" for what in ("created", "changed", "deleted"))
SAID, EDITED, REMOVED = (f"message.{what}" for what in ("created", "changed", "deleted"))


def feed(owner, after=0):
    return read_changes(scope=changes_of_owner(owner.pk), after=after, limit=1_000).changes


@pytest.fixture
def news(alice):
    """`news()`: the changes of alice since it was called last, as (type, first, last)."""
    seen = [0]

    def since():
        found = feed(alice, seen[0])
        seen[0] = found[-1].position if found else seen[0]
        return [(one.kind, one.first_sequence, one.last_sequence) for one in found]

    return since


@pytest.fixture
def chat(alice, news):
    chat = make_conversation(alice, messages=2, title="Trip")
    news()
    return chat


def run(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def test_a_conversation_and_its_messages_by_services(alice, news):
    access = access_of(alice)
    chat, _ = create_conversation(owner=alice, title="Trip")
    assert news() == [(CREATED, None, None)]
    said = add_message(conversation_id=chat.pk, role="user", content="Hello", access=access)
    assert news() == [(SAID, 1, 1)]
    drafts = [MessageDraft(role="user", content=f"{i}") for i in range(1_000)]
    add_messages(conversation_id=chat.pk, messages=drafts, access=access)
    assert news() == [(SAID, 2, 1_001)]
    update_conversation(conversation_id=chat.pk, changes={"pinned": True}, access=access)
    assert news() == [(CHANGED, None, None)]
    place = {"conversation_id": chat.pk, "message_id": said.id}
    update_message(**place, changes={"rating": 1}, access=access)
    assert news() == [(EDITED, 1, 1)]
    delete_message(**place, access=access)
    assert news() == [(REMOVED, 1, 1)]
    delete_conversation(conversation_id=chat.pk, access=access)
    assert news() == [(DELETED, None, None)]


def test_a_first_message_that_gives_the_title_changes_the_conversation(alice, news):
    chat, _ = create_conversation(owner=alice)
    add_message(conversation_id=chat.pk, role="user", content="Hello")
    assert news() == [(CREATED, None, None), (SAID, 1, 1), (CHANGED, None, None)]


def test_an_import_is_in_the_feed_once(alice, news):
    def chats():
        drafts = tuple(MessageDraft(role="user", content=f"{i}") for i in range(1_500))
        return [Chat(file_id="1", line=1, title="Imported", messages=drafts)]

    for _ in range(2):
        import_conversations(chats=chats(), owner_id=alice.pk, source="import:test")
    assert news() == [(CREATED, None, None), (SAID, 1, 1_500)]


def test_a_turn_is_its_messages_and_the_end_of_the_answer(alice, news):
    turn = begin(alice)
    assert news() == [(CREATED, None, None), (SAID, 1, 2), (CHANGED, None, None)]
    for text in ("Hel", "Hello"):
        save_progress([with_text(turn, text)])
    assert news() == []
    assert finish_turn(ended(turn, "complete", content="Hello there"))
    assert news() == [(EDITED, 2, 2)]


def test_statements_in_sql(chat, alice, news):
    run("UPDATE conversations_conversation SET title = 'x', metadata = '{\"a\": 1}'")
    assert news() == [(CHANGED, None, None)]
    run("UPDATE conversations_message SET content = 'y' WHERE sequence = 2")
    assert news() == [(EDITED, 2, 2)]
    run("DELETE FROM conversations_message")
    assert sorted(news()) == [(REMOVED, 1, 1), (REMOVED, 2, 2)]
    run("DELETE FROM conversations_conversation")
    assert news() == [(DELETED, None, None)]
    Conversation.objects.create(user=alice, message_count=3, last_sequence=3)
    assert news() == [(CREATED, None, None), (SAID, 1, 3)]


def test_what_clients_do_not_see_is_no_change(chat, news):
    run("UPDATE conversations_conversation SET message_count = 1, updated_at = now()")
    run("UPDATE conversations_message SET search = NULL, runner = 'x'")
    for on_hold in (True, False):
        set_legal_hold(
            conversation_id=chat.pk,
            on_hold=on_hold,
            access=AccessContext(None, reason="Case 7"),
        )
    assert news() == []


def test_what_is_rolled_back_is_no_change(chat, news):
    with transaction.atomic():
        add_message(conversation_id=chat.pk, role="user", content="x")
        transaction.set_rollback(True)
    assert news() == []


def test_the_trigger_compares_every_column_that_clients_see():
    with connection.cursor() as cursor:
        cursor.execute("SELECT prosrc FROM pg_proc WHERE proname = 'conversations_note_update'")
        (source,) = cursor.fetchone()
    counted = {"id", "message_count", "path_length", "updated_at"}
    for column in set(CONVERSATION_COLUMNS) - counted:
        assert f"NEW.{column}" in source, column


def test_a_change_names_the_messages_that_are_there(chat, alice):
    first, second = get_chat_history(conversation_id=chat.pk)
    said = next(one for one in feed(alice) if one.kind == SAID)
    assert said.message_ids == [first.id, second.id]
    delete_message(conversation_id=chat.pk, message_id=first.id, access=access_of(alice))
    *_, said, removed = feed(alice)
    assert (said.message_ids, removed.message_ids) == ([second.id], [first.id])
    assert (said.username, said.conversation_id) == ("alice", chat.pk)


def test_a_page_ends_before_it_names_too_many_messages(alice, monkeypatch):
    monkeypatch.setattr(selectors, "MAX_MESSAGE_IDS", 5)
    chat = make_conversation(alice)
    for count in (4, 2, 9, 1):
        fill(chat, count)
    sizes, after = [], 0
    while page := read_changes(scope=changes_of_owner(alice.pk), after=after, limit=10).changes:
        sizes.append([len(one.message_ids) for one in page if one.kind == SAID])
        after = page[-1].position
    assert sizes == [[4], [2], [9], [1]]


def test_an_erased_user_leaves_the_ids_of_deleted_conversations(staff):
    owner, other = find_or_create_user(3, namespace="crm"), make_user("bob")
    chats = [make_conversation(owner, messages=1) for _ in range(2)]
    kept = make_conversation(other)
    crm = Caller(make_user("crm"), trusted=True, namespace="crm")
    erp = Caller(make_user("erp"), trusted=True, namespace="erp")
    assert len(everybodys(crm)) == 6  # the first message gave the title
    add_message(conversation_id=chats[0].pk, role="user", content="x")  # still pending
    erase_user(user_id=owner.pk, access=AccessContext(None, reason="Asked"))
    left = everybodys(crm)
    assert {(one.kind, one.username) for one in left} == {(DELETED, None)}
    assert {one.conversation_id for one in left} == {chat.pk for chat in chats}
    assert everybodys(erp) == []
    assert {one.conversation_id for one in everybodys(Caller(staff, reader=True))} == {
        kept.pk,
        *(chat.pk for chat in chats),
    }
    assert not PendingChange.objects.exists()


def test_a_user_deleted_without_the_service_is_still_told_to_mirrors(alice):
    chat = make_conversation(alice)
    sequence_changes()
    run("DELETE FROM auth_user_groups")
    run("DELETE FROM auth_user WHERE id = %s", alice.pk)
    for namespace in ("", "crm"):
        caller = Caller(make_user(f"backend-{namespace}"), trusted=True, namespace=namespace)
        assert everybodys(caller)[-1].conversation_id == chat.pk


def everybodys(caller):
    return read_changes(scope=changes_of_everybody(caller), after=0, limit=100).changes


@pytest.mark.one_node("changes of different owners have no common order there")
def test_a_trusted_client_sees_its_users_and_its_own_account_in_one_order(alice, staff):
    backend, crm = make_user("backend"), make_user("crm")
    owners = [alice, find_or_create_user(3, namespace="crm"), staff, backend, crm]
    for _ in range(2):
        for owner in owners:
            make_conversation(owner)
    seen = [one.username for one in everybodys(Caller(backend, trusted=True))]
    assert seen == ["alice", "backend", "crm"] * 2
    seen = [one.username for one in everybodys(Caller(crm, trusted=True, namespace="crm"))]
    assert seen == ["crm\uff1a3", "crm"] * 2


def age(days, **which):
    Change.objects.filter(**which).update(created_at=timezone.now() - timedelta(days=days))


def test_old_changes_are_removed_and_a_reader_who_missed_some_is_told(alice, settings, news):
    for _ in range(4):
        make_conversation(alice)
    news()
    scope = changes_of_owner(alice.pk)
    age(29)
    tend_changes()
    assert len(feed(alice)) == 4
    age(31, position__lte=2)
    tend_changes()
    assert [one.position for one in feed(alice, 2)] == [3, 4]
    assert [one.position for one in read_changes(scope=scope, after=None, limit=9).changes] == [
        3,
        4,
    ]
    for cursor, code in ((1, "changes_removed"), (0, "changes_removed"), (5, "unknown_cursor")):
        with pytest.raises(Gone) as refused:
            feed(alice, cursor)
        assert refused.value.code == code
    settings.CHAT_CHANGES_RETENTION_DAYS = 28
    age(29)
    tend_changes()
    assert (feed(alice, 4), Change.objects.count()) == ([], 0)
    make_conversation(alice)
    assert [one.position for one in feed(alice, 4)] == [5]


def test_only_the_start_of_the_feed_is_removed(alice, news):
    """A long transaction is in the feed later than its time: what is before it stays as well."""
    for _ in range(3):
        make_conversation(alice)
    news()
    age(31, position__in=[1, 3])
    tend_changes()
    assert [one.position for one in feed(alice, 1)] == [2, 3]


def test_a_reader_of_whom_nothing_changed_is_not_sent_back(alice, bob):
    page = read_changes(scope=changes_of_owner(alice.pk), after=0, limit=9)
    for _ in range(3):
        make_conversation(bob)
    page = read_changes(scope=changes_of_owner(alice.pk), after=page.next_position, limit=9)
    assert (page.changes, page.next_position) == ([], 3)
    age(31)
    tend_changes()
    assert read_changes(scope=changes_of_owner(alice.pk), after=3, limit=9).changes == []


def test_many_pending_changes_are_given_positions_in_batches(alice, monkeypatch):
    monkeypatch.setattr(changes, "BATCH", 7)
    chat = make_conversation(alice)
    for _ in range(30):
        fill(chat, 1)
    tend_changes()
    found = feed(alice)
    assert [one.position for one in found] == list(range(1, len(found) + 1))
    assert [one.first_sequence for one in found if one.kind == SAID] == list(range(1, 31))
    assert not PendingChange.objects.exists()


PLANS = [
    (changes_of_owner, "change_pkey"),
    (lambda pk: changes_of_everybody(Caller(User(pk=pk), reader=True)), "change_position_idx"),
    (
        lambda pk: changes_of_everybody(Caller(User(pk=pk), trusted=True, namespace="crm")),
        "change_namespace_idx",
    ),
]


@pytest.mark.one_node("the plans of one server")
@pytest.mark.parametrize(("scope_of", "index"), PLANS, ids=["owner", "staff", "trusted"])
def test_a_page_is_read_by_indexes_alone(alice, bob, scope_of, index, statements):
    run(
        "INSERT INTO conversations_change (user_id, position, conversation_id, kind, namespace,"
        " first_sequence, last_sequence, created_at)"
        " SELECT %s, i, gen_random_uuid(), 'message.created', '', 1, 1, now()"
        " FROM generate_series(1, 100000) i",
        bob.pk,
    )
    run("UPDATE conversations_change SET namespace = 'crm', user_id = user_id WHERE position = 9")
    ChangeFeed.objects.update_or_create(pk=1, defaults={"last_position": 100_000})
    make_conversation(alice, messages=50)
    run("ANALYZE conversations_change, conversations_message, auth_user")
    with statements() as seen:
        read_changes(scope=scope_of(alice.pk), after=0, limit=200)
    plans = ""
    for sql in seen:
        if sql.split()[0] == "SELECT" and "change " in sql:
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL enable_seqscan = off")  # of few messages
                cursor.execute(f"EXPLAIN {sql}")
                plans += "\n".join(line for (line,) in cursor.fetchall())
    assert index in plans
    for table in ("conversations_change", "conversations_message"):
        assert f"Seq Scan on {table}" not in plans, plans
