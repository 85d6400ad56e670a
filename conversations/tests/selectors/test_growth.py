"""What does not grow: the rows that PostgreSQL reads and writes for whole requests, of an owner of
10 conversations and of 1,000, on a conversation of 10 messages and on one of 1,000."""

import pytest
from django.db import connection

from conversations.models import Conversation
from conversations.selectors.staff_search import owners_by_name
from conversations.tests.cluster import analyze
from conversations.tests.factories import client_for, fill, make_conversation, make_user

FEW, MANY, PAGE = 10, 1_000, 4
CONVERSATIONS = "/api/conversations"
COUNTED = """
    SELECT COALESCE(sum(seq_tup_read), 0), COALESCE(sum(idx_tup_fetch), 0),
        COALESCE(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)
    FROM pg_stat_xact_user_tables WHERE relname IN
        ('conversations_conversation', 'conversations_conversationcount', 'conversations_message')
"""
pytestmark = [
    pytest.mark.one_node("counts of tables are those of the coordinator"),
    pytest.mark.django_db,
]


def counted(act):
    """What `act` returns, and the rows that it reads one after the other, finds by an index, and
    writes."""
    with connection.cursor() as cursor:
        cursor.execute(COUNTED)
        before = cursor.fetchone()
        result = act()
        cursor.execute(COUNTED)
        after = cursor.fetchone()
    return result, tuple(int(b - a) for a, b in zip(before, after, strict=True))


def touched(request):
    response, rows = counted(request)
    assert response.status_code in (200, 201), response.content
    return rows


def page_at(client, path, cursor):
    return lambda: client.get(path, {"page_size": PAGE} | cursor)


def middle_of(client, path, count):
    """The cursor of the page after half of so many rows."""
    half = client.get(path, {"page_size": min(count // 2, 200)}).json()
    return {"cursor": half["next_cursor"]}


@pytest.fixture
def owners():
    """A client of an owner of few conversations, and one of an owner of many."""
    clients = []
    for count in (FEW, MANY):
        owner = make_user(f"owner-of-{count}")
        Conversation.objects.bulk_create(Conversation(user=owner) for _ in range(count))
        clients.append(client_for(owner))
    for table in ("conversation", "conversationcount"):
        analyze(f"conversations_{table}")
    return clients


@pytest.mark.parametrize("order", ["-updated_at", "updated_at", "-created_at", "created_at"])
def test_a_page_of_a_list_reads_no_more_of_many(owners, order):
    path = f"{CONVERSATIONS}?order={order}"
    for client, count in zip(owners, (FEW, MANY), strict=True):
        for cursor in ({}, middle_of(client, path, count)):
            one_after_the_other, by_index, _ = touched(page_at(client, path, cursor))
            # The numbers of conversations are a table of two rows here, and read as such.
            assert one_after_the_other <= 2
            # One more than the page tells that there are more, and another may have the same time.
            assert PAGE < by_index <= PAGE + 2


def test_a_new_conversation_costs_no_more_among_many(owners):
    counts = {
        touched(lambda c=client: c.post(CONVERSATIONS, {"title": "New"})) for client in owners
    }
    assert len(counts) == 1


def test_getting_the_latest_conversation_reads_no_more_of_many(owners):
    counts = {touched(lambda c=client: c.post(CONVERSATIONS)) for client in owners}
    assert len(counts) == 1


def test_the_owners_that_staff_find_are_counted_without_reading_their_conversations(owners):
    found, rows = counted(lambda: owners_by_name("owner-of"))
    assert found == [("owner-of-10", FEW), ("owner-of-1000", MANY)]
    assert sum(rows) <= 2


@pytest.fixture
def chats(alice):
    """The paths of the messages of a short conversation and of a long one."""
    paths = []
    for count in (FEW, MANY):
        chat = make_conversation(alice)
        fill(chat, count)
        paths.append(f"{CONVERSATIONS}/{chat.pk}/messages")
    for table in ("conversation", "message"):
        analyze(f"conversations_{table}")
    return paths


def test_a_page_of_messages_reads_no_more_of_many(alice, chats):
    client = client_for(alice)
    for parameters in ({}, {"order": "desc"}, None):
        counts = set()
        for path, count in zip(chats, (FEW, MANY), strict=True):
            at = middle_of(client, path, count) if parameters is None else parameters
            counts.add(touched(page_at(client, path, at)))
        assert len(counts) == 1


def test_an_append_reads_and_writes_no_more_after_many(alice, chats):
    client = client_for(alice)
    message = {"role": "user", "content": "Hello"}
    counts = {touched(lambda to=path: client.post(to, message)) for path in chats}
    assert len(counts) == 1
