"""A write is seen by every read that follows it, through whichever process and whoever asks."""

import itertools
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from django.db import connection
from django.test import Client

from conversations.db import write_positions
from conversations.db.replicas import keep_written, request_scope, writes_of
from conversations.formats import MessageDraft
from conversations.models import (
    AccessAction,
    AccessContext,
    Caller,
    Conversation,
    Message,
    WritePosition,
)
from conversations.services import (
    append_drafts,
    create_conversation,
    delete_conversation,
    erase_user,
    import_conversations,
    set_legal_hold,
    update_conversation,
)
from conversations.services.audit import owner_of
from conversations.tests.chat.clients import ChatClient
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import says
from conversations.tests.factories import (
    access_of,
    make_conversation,
    make_staff,
    make_superuser,
    make_token,
    make_trusted,
    make_user,
)
from conversations.tests.replicas.conftest import (
    BEFORE,
    change_on_primary,
    stale_replica,
)

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/api/conversations"
PAIRS = 300


def append(client, chat, text):
    """With an id, so that it can be sent again."""
    body = {"role": "user", "content": text, "id": str(uuid.uuid4())}
    with client.call("POST", f"{LIST}/{chat.pk}/messages", body) as reply:
        return reply.status


def newest(client, chat):
    return client.get(f"{LIST}/{chat.pk}/messages?order=desc&page_size=1")


def test_write_then_read_pairs_through_two_processes_see_each_write(two, standby, chat, alice):
    """The replay of the replica stops and goes on all the time."""
    done = threading.Event()

    def stutter():
        while not done.is_set():
            standby.rows("SELECT pg_wal_replay_pause()")
            time.sleep(0.1)
            standby.resume_replay()
            time.sleep(0.1)

    stuttering = threading.Thread(target=stutter)
    stuttering.start()
    before = scans_of(standby)
    try:
        for number in range(PAIRS):
            writer, reader = two[number % 2], two[1 - number % 2]
            assert append(writer, chat, f"number {number}") == 201
            (message,) = newest(reader, chat).body["messages"]
            assert message["content"] == f"number {number}"
            (listed,) = reader.get(LIST).body["conversations"]
            assert listed["message_count"] == number + 2
    finally:
        done.set()
        stuttering.join()
    wait_until(lambda: scans_of(standby) > before)


def scans_of(standby):
    """How many scans of messages it has counted; a session reports its own within seconds."""
    sql = """SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0) FROM pg_stat_user_tables
        WHERE relname = 'conversations_message'"""
    ((scans,),) = standby.rows(sql, database=connection.settings_dict["NAME"])
    return scans


def test_a_replica_that_is_killed_and_restarted_under_load_fails_no_request(two, standby, alice):
    chats = [make_conversation(alice, messages=1) for _ in range(4)]
    done, failed, sent = threading.Event(), [], itertools.count()

    def work(number):
        chat, counted = chats[number], 0
        while not done.is_set():
            writer, reader = two[counted % 2], two[1 - counted % 2]
            status = append(writer, chat, f"number {counted}")
            answer = newest(reader, chat)
            seen = answer.status == 200 and answer.body["messages"][0]["content"]
            if status != 201 or seen != f"number {counted}":
                failed.append((status, answer.status, answer.body))
            counted += 1
            next(sent)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(work, number) for number in range(4)]
        for _ in range(3):
            time.sleep(0.7)
            standby.kill()
            time.sleep(0.7)
            standby.start()
        done.set()
        for one in running:
            one.result()
    assert not failed
    assert next(sent) > 20


def test_the_token_does_not_matter(two, servers, standby, chat, alice):
    """Another token, a delegated one, one of a trusted client, staff."""
    support = make_staff()
    tokens = [make_token(alice), make_token(alice, delegated=True), make_token(make_trusted())]
    readers = [servers[1].client(token) for token in (*tokens, make_token(support))]
    path = f"{LIST}/{chat.pk}/messages"
    stale_replica(standby, path, *readers)
    assert append(two[0], chat, "by Alice") == 201
    for client in readers:
        assert "by Alice" in str(client.get(path).body)


def test_who_writes_for_somebody_else_is_seen_by_them_and_by_staff(
    two, servers, standby, chat, alice
):
    """Of what staff change, their own lists of all owners tell too."""
    backend = servers[0].client(make_token(make_trusted()))
    writer = make_user(
        "clerk", "view_conversation", "view_message", "act_for_any_user", is_staff=True
    )
    clerk = servers[0].client(make_token(writer))
    path = f"{LIST}/{chat.pk}/messages"
    for number, client in enumerate((backend, clerk)):
        stale_replica(standby, path, two[1])
        assert append(client, chat, f"for Alice {number}") == 201
        assert f"for Alice {number}" in str(two[1].get(path).body)
        standby.resume_replay()
        Conversation.objects.update(title=BEFORE)
        Message.objects.update(content=BEFORE)
    other = servers[1].client(make_token(writer))
    stale_replica(standby, f"{LIST}?user_id=*", other)
    with clerk.call("PATCH", f"{LIST}/{chat.pk}", {"title": "Renamed"}) as reply:
        assert reply.status == 200
    assert "Renamed" in str(other.get(f"{LIST}?user_id=*").body)


def test_a_login_session_sees_it_too(servers, two, standby, chat, alice):

    reader = ChatClient(servers[1].url, Cookie=session_of(alice))
    path = f"{LIST}/{chat.pk}/messages"
    stale_replica(standby, path, reader)
    assert append(two[0], chat, "with a token") == 201
    assert "with a token" in str(reader.get(path).body)


@pytest.mark.parametrize("followed", [False, True])
def test_who_hears_the_end_of_a_turn_finds_it(two, standby, provider, chat, followed):
    """Its process stores it in the background, long after the request that asked; who follows it
    through another process is told of it too."""
    here, there = two
    gate = threading.Event()
    provider.script(says("All ", gate, "is stored."))
    stream = iter(here.stream(conversation_id=str(chat.pk)))
    start = next(stream)
    heard = iter(there.join(start.data["message_id"])) if followed else stream
    standby.catch_up()
    assert newest(there, chat).body["messages"][0]["status"] == "streaming"
    standby.pause_replay()
    gate.set()
    assert list(heard)[-1].name == "done"
    (message,) = newest(there, chat).body["messages"]
    assert (message["status"], message["content"]) == ("complete", "All is stored.")
    list(stream)


def test_a_page_of_staff_shows_what_they_have_just_done(servers, two, standby, chat):
    cookies = {"Cookie": f"{session_of(make_superuser())}; csrftoken={'c' * 32}"}
    one, other = (httpx.Client(base_url=server.url, headers=cookies) for server in servers)
    page = f"/admin/conversations/conversation/{chat.pk}/change/"
    with one, other:
        standby.catch_up()
        other.get(page)
        change_on_primary(standby)
        wait_until(lambda: BEFORE in other.get(page).text)
        form = {"do": "note", "text": "a note of mine", "csrfmiddlewaretoken": "c" * 32}
        done = one.post(f"/admin/conversations/conversation/{chat.pk}/act/", data=form)
        assert done.status_code == 302
        assert "a note of mine" in other.get(page).text


def session_of(user):
    """The cookie of a login."""
    session = Client()
    session.force_login(user)
    return f"sessionid={session.cookies['sessionid'].value}"


# What is kept of writes, within this process.


@pytest.fixture
def kept(settings, transactional_db):
    """The position kept for a user, where replicas are configured."""
    settings.DATABASE_REPLICAS = ["replica_1"]

    def position(user):
        return WritePosition.objects.filter(pk=user.pk).values_list("position", flat=True).first()

    return position


WRITES = {
    "append": lambda chat, access: append_drafts(
        conversation_id=chat.pk, drafts=[MessageDraft(role="user", content="x")], access=access
    ),
    "change": lambda chat, access: update_conversation(
        conversation_id=chat.pk, changes={"title": "x"}, access=access
    ),
    "delete": lambda chat, access: delete_conversation(conversation_id=chat.pk, access=access),
    "hold": lambda chat, access: set_legal_hold(
        conversation_id=chat.pk, on_hold=True, access=access
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_each_write_keeps_the_position_of_owner_and_staff(kept, alice, write):
    chat, support = make_conversation(alice), make_staff()
    with request_scope():
        WRITES[write](
            chat, AccessContext(Caller(support, reader=True, writer=True), reason="asked")
        )
        assert kept(alice) is None, "kept when the request ends, after all commits"
    assert kept(alice) > 0
    assert kept(support) > 0


def test_a_trusted_client_keeps_the_position_of_the_owner_alone(kept, alice):
    """Else one row would be written for all that an application writes."""
    chat, backend = make_conversation(alice), make_trusted()
    with request_scope():
        owner_of(AccessContext(Caller(backend, trusted=True)), chat.pk, action=AccessAction.CHANGE)
    assert kept(alice) > 0
    assert kept(backend) is None


def test_an_import_keeps_the_position_of_its_owner(kept, alice):
    import_conversations(chats=[], owner_id=alice.pk, source="import:json")
    assert kept(alice) > 0


def test_a_read_keeps_none(kept, alice):
    chat = make_conversation(alice)
    with request_scope():
        owner_of(access_of(alice), chat.pk, action=AccessAction.READ)
    assert kept(alice) is None


def test_without_replicas_nothing_is_kept(transactional_db, alice, statements):
    with statements() as seen:
        keep_written(alice.pk)
        with request_scope():
            writes_of(alice.pk)
    assert not seen
    assert not WritePosition.objects.exists()


def test_a_position_never_moves_back(kept, alice):
    keep_written(alice.pk)
    first = kept(alice)
    create_conversation(owner=alice)
    keep_written(alice.pk)
    assert kept(alice) > first
    # Of two that overlap, the later one stays: here one that was taken before this one was stored.
    with connection.cursor() as cursor:
        ahead = "(pg_current_wal_insert_lsn() - '0/0')::bigint - 1"
        cursor.execute(f"UPDATE conversations_writeposition SET position = {ahead}")
    second = kept(alice)
    keep_written(alice.pk)
    assert kept(alice) >= second


def test_a_position_of_another_server_is_replaced(kept, alice):
    """A dump that was restored into a new server, whose log has just begun."""
    WritePosition.objects.create(user=alice, position=2**60)
    required = write_positions.read_required(alice.pk)
    assert required.lsn < 2**50
    keep_written(alice.pk)
    assert kept(alice) < 2**50


def test_an_erased_user_leaves_no_position(kept, alice):
    support = make_staff()
    keep_written(alice.pk)
    with request_scope():
        access = AccessContext(Caller(support, reader=True, writer=True), reason="asked")
        erase_user(user_id=alice.pk, access=access)
    assert set(WritePosition.objects.values_list("pk", flat=True)) == {support.pk}


def test_many_at_once_keep_the_position_of_one_user(kept, alice):
    """None waits for another longer than one commit takes, and none fails."""

    def keep(number):
        try:
            keep_written(alice.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, range(64)))
    before = kept(alice)
    create_conversation(owner=alice)
    assert write_positions.read_required(alice.pk).lsn >= before
