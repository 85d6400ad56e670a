"""The number of an owner's conversations is kept, not counted: exact in every snapshot, whoever
writes, and no writer waits for another."""

import io
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import psycopg2
import pytest
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Sum

from conversations.models import Conversation, ConversationCount, new_id
from conversations.selectors.conversation_pages import page_of_conversations
from conversations.services import (
    SCRIPT,
    delete_conversation,
    erase_user,
    get_or_create_latest,
    set_legal_hold,
)
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.cluster import someone_waits_for_a_lock
from conversations.tests.factories import make_conversation

pytestmark = pytest.mark.django_db(transaction=True)

COPY = """COPY conversations_conversation (id, user_id, title, model_used, metadata, pinned,
    legal_hold, source, message_count, last_sequence, created_at, updated_at) FROM STDIN"""
BOTH = """
    SELECT (SELECT count(*) FROM conversations_conversation WHERE user_id = %s),
        (SELECT COALESCE(sum(number), 0) FROM conversations_conversationcount WHERE user_id = %s)
"""


def total(user):
    return page_of_conversations(user.pk, user_id="x", limit=1).total


def check(*users):
    for user in users:
        with connection.cursor() as cursor:
            cursor.execute(BOTH, [user.pk, user.pk])
            counted, kept = cursor.fetchone()
        assert counted == kept == total(user)


def insert(*users):
    """In one statement."""
    Conversation.objects.bulk_create(Conversation(user=user) for user in users)


def copy(*users):
    rows = "".join(
        f"{new_id()}\t{user.pk}\tx\t\t{{}}\tf\tf\tapi\t0\t0\t2026-01-01\t2026-01-01\n"
        for user in users
    )
    with connection.cursor() as cursor:
        cursor.copy_expert(COPY, io.StringIO(rows))


def test_whatever_writes_is_counted(alice, bob):
    chat = make_conversation(alice)
    check(alice, bob)
    get_or_create_latest(owner=bob)
    insert(alice, bob, alice)
    copy(alice, bob, bob)
    check(alice, bob)
    assert (total(alice), total(bob)) == (4, 4)
    known = Conversation(id=chat.pk, user=alice)
    Conversation.objects.bulk_create([known, Conversation(user=alice)], ignore_conflicts=True)
    assert total(alice) == 5
    delete_conversation(conversation_id=chat.pk, access=SCRIPT)
    check(alice, bob)
    Conversation.objects.filter(user=alice).update(title="other")
    for user in (alice, bob):
        Conversation.objects.filter(user=user).delete()
    check(alice, bob)
    assert ConversationCount.objects.count() == 2
    assert total(alice) == total(bob) == 0


def test_one_statement_of_many_rows_is_one_write(alice):
    insert(alice)
    insert(*[alice] * 2_000)
    assert ConversationCount.objects.get(user=alice).number == 2_001


@pytest.mark.one_node("there are no triggers of TRUNCATE")
def test_a_truncation_is_counted(alice):
    make_conversation(alice)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE conversations_conversation CASCADE")
    make_conversation(alice)
    check(alice)


@pytest.mark.parametrize("erase", ["service", "database"])
def test_the_count_goes_with_the_owner(alice, bob, erase):
    make_conversation(bob)
    insert(alice, alice)
    if erase == "service":
        erase_user(user_id=alice.pk, access=SCRIPT)
    else:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM auth_user WHERE id = %s", [alice.pk])
    assert list(ConversationCount.objects.values_list("user_id", "number")) == [(bob.pk, 1)]


def test_what_a_legal_hold_refuses_is_not_counted_and_new_ones_are(alice):
    chat = make_conversation(alice)
    reason = replace(SCRIPT, reason="Case 7")
    set_legal_hold(conversation_id=chat.pk, on_hold=True, access=reason)
    make_conversation(alice)
    with pytest.raises(IntegrityError, match="legal hold"):
        Conversation.objects.filter(user=alice).delete()
    check(alice)
    assert total(alice) == 2


def in_thread(work):
    def run():
        try:
            return work()
        finally:
            connection.close()

    return run


def test_writers_of_the_same_owners_never_wait_for_each_other(alice, bob):
    """In open transactions, each of both owners, in both orders."""
    insert(alice, bob)
    begun, ended = threading.Barrier(4), threading.Barrier(4)

    def write(users):
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '5s'")
            for user in users:
                Conversation.objects.create(user=user)
                begun.wait(20)
            Conversation.objects.create(user=users[0])
            ended.wait(20)

    orders = [(alice, bob), (bob, alice)] * 2
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(in_thread(lambda order=order: write(order))) for order in orders]:
            done.result()
    check(alice, bob)
    assert total(alice) + total(bob) == 2 + 3 * 4
    assert ConversationCount.objects.filter(user=alice).count() <= 5
    make_conversation(alice)
    assert ConversationCount.objects.filter(user=alice).count() <= 5


def test_the_count_is_exact_at_any_moment_while_many_write_and_roll_back(alice, bob):
    users, stop = (alice, bob), threading.Event()

    def write(seed):
        chance = random.Random(seed)
        for _ in range(40):
            with suppress(ZeroDivisionError), transaction.atomic():
                for _ in range(chance.randint(1, 3)):
                    user = chance.choice(users)
                    if chance.random() < 0.6:
                        insert(*[user] * chance.randint(1, 3))
                    else:
                        chat = user.conversations.order_by("?").first()
                        user.conversations.filter(pk=chat and chat.pk).delete()
                if chance.random() < 0.3:
                    raise ZeroDivisionError

    def watch():
        checks = 0
        while not stop.is_set():
            check_in_one_snapshot(alice)
            checks += 1
        return checks

    with ThreadPoolExecutor(6) as pool:
        watched = pool.submit(in_thread(watch))
        try:
            for done in [
                pool.submit(in_thread(lambda seed=seed: write(seed))) for seed in range(5)
            ]:
                done.result()
        finally:
            stop.set()
        assert watched.result() > 10
    check(*users)
    parts = ConversationCount.objects.filter(user=alice)
    # Each of a transaction's three writes may have found another one free.
    assert parts.count() <= 15
    assert parts.aggregate(Sum("number"))["number__sum"] == alice.conversations.count()


def check_in_one_snapshot(user):
    """The statement of the list, and a count, see the same."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute(BOTH, [user.pk, user.pk])
        counted, kept = cursor.fetchone()
        assert counted == kept == total(user)


def test_a_writer_that_is_killed_leaves_nothing(alice):
    insert(alice)
    settings = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    lost = psycopg2.connect(**{name: settings[name] for name in names if name in settings})
    with lost.cursor() as cursor:
        cursor.execute(
            "INSERT INTO conversations_conversation (id, user_id, title, model_used, metadata,"
            " pinned, legal_hold, source, message_count, last_sequence, created_at, updated_at)"
            " SELECT gen_random_uuid(), %s, 'x', '', '{}', false, false, '', 0, 0, now(), now()"
            " FROM generate_series(1, 3)",
            [alice.pk],
        )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [lost.info.backend_pid])
    with pytest.raises(psycopg2.Error):
        lost.commit()
    insert(alice)
    check(alice)
    assert total(alice) == 2


def test_an_erasure_and_a_writer_do_not_deadlock(alice):
    """The erasure waits for what was begun before, and takes it along."""
    make_conversation(alice)

    def erase():
        return erase_user(user_id=alice.pk, access=SCRIPT)

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            make_conversation(alice)
            erased = pool.submit(in_thread(erase))
            wait_until(someone_waits_for_a_lock, 10)
            make_conversation(alice)
        erased.result()
    assert not ConversationCount.objects.exists()
    assert not Conversation.objects.exists()


@pytest.fixture
def before_counts(alice, bob):
    insert(alice, alice, bob)
    call_command("migrate", "conversations", "0028", verbosity=0)
    yield
    call_command("migrate", verbosity=0)


@pytest.mark.one_node("migrations before it are not undone there")
def test_the_migration_counts_what_is_there_and_what_others_write_meanwhile(
    before_counts, alice, bob
):
    stop = threading.Event()

    def write(user):
        written = 0
        while not stop.is_set():
            copy(user, user)  # the columns that there were
            written += 2
        return written

    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(in_thread(lambda user=user: write(user))) for user in (alice, bob)]
        try:
            call_command("migrate", verbosity=0)
        finally:
            stop.set()
        written = [done.result() for done in writing]
    check(alice, bob)
    assert [total(alice), total(bob)] == [2 + written[0], 1 + written[1]]
    assert all(written)


def test_a_failing_statement_is_not_counted(alice):
    with suppress(DatabaseError), transaction.atomic():
        insert(alice, alice)
        Conversation.objects.create(user=alice, title="")
    with transaction.atomic():
        insert(alice)
        with suppress(ZeroDivisionError), transaction.atomic():
            insert(alice)
            raise ZeroDivisionError
    check(alice)
    assert total(alice) == 1
