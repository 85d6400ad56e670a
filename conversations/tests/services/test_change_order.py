"""The order of the feed while many write: exact, without a gap, nothing behind a cursor."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg2
import pytest
from django.db import connection, transaction

from conversations.formats import MessageDraft
from conversations.models import Caller, Conversation, Message
from conversations.selectors.changes import changes_of_everybody
from conversations.services import (
    add_message,
    add_messages,
    create_conversation,
    delete_conversation,
    delete_message,
    update_conversation,
)
from conversations.services.changes import read_changes
from conversations.services.turns import finish_turn
from conversations.tests.chat.turns import begin, ended
from conversations.tests.factories import access_of, make_conversation, make_user

pytestmark = pytest.mark.django_db(transaction=True)
WRITERS, SECONDS = 16, 4.0


def everything(after=0, limit=1_000):
    scope = changes_of_everybody(Caller(None, reader=True))
    return read_changes(scope=scope, after=after, limit=limit)


@contextmanager
def another_connection():
    """A session of its own, with a transaction that is open until the end of the block."""
    other = psycopg2.connect(**connection.get_connection_params() | {"cursor_factory": None})
    try:
        yield other.cursor()
        other.commit()
    finally:
        other.close()


RENAME = "UPDATE conversations_conversation SET title = 'slow' WHERE id = %s"


def test_what_is_committed_late_comes_after_what_was_read_before():
    slow, fast = make_conversation(make_user("slow")), make_conversation(make_user("fast"))
    start = everything().next_position
    with another_connection() as other:
        other.execute(RENAME, [str(slow.pk)])
        add_message(conversation_id=fast.pk, role="user", content="x", access=access_of(fast.user))
        seen = everything(start)
        assert {one.conversation_id for one in seen.changes} == {fast.pk}
    late = everything(seen.next_position).changes
    assert [(one.kind, one.conversation_id) for one in late] == [("conversation.changed", slow.pk)]
    assert everything(start).changes[-1].position == late[0].position


def test_a_long_transaction_does_not_hold_up_the_others():
    slow, fast = make_conversation(make_user("slow")), make_conversation(make_user("fast"))
    with another_connection() as other:
        other.execute(RENAME, [str(slow.pk)])
        for count in range(5):
            before = everything().next_position
            add_message(conversation_id=fast.pk, role="user", content=f"{count}")
            assert everything(before).changes


def test_the_deletion_of_a_conversation_comes_after_the_end_of_its_answer():
    """The end of a turn does not lock the conversation; the deletion waits for its row."""
    owner = make_user("alice")
    turn = begin(owner)
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert finish_turn(ended(turn, "complete", content="Hello"))
            deletion = pool.submit(in_thread, delete_chat, turn.conversation_id, owner)
            time.sleep(0.3)
        deletion.result()
    kinds = [one.kind for one in everything().changes]
    assert kinds[-2:] == ["message.changed", "conversation.deleted"]


def in_thread(call, *arguments):
    try:
        return call(*arguments)
    finally:
        connection.close()


def delete_chat(conversation_id, owner):
    delete_conversation(conversation_id=conversation_id, access=access_of(owner))


class Writer:
    """Writes what people write, to conversations of its own and to one that all share."""

    def __init__(self, number, shared, owner):
        self.random, self.shared, self.owner = random.Random(number), shared, owner
        self.access = access_of(owner)
        self.written = 0

    def until(self, end):
        mine = []
        while time.monotonic() < end:
            kind = self.random.random()
            if kind < 0.2 or not mine:
                chat, _ = create_conversation(owner=self.owner, title="T")
                mine.append(chat.pk)
            elif kind < 0.85:
                self.append(self.random.choice([*mine, self.shared]))
            elif kind < 0.9:
                changes = {"pinned": self.random.random() < 0.5}
                chat = self.random.choice(mine)
                update_conversation(conversation_id=chat, changes=changes, access=self.access)
            elif kind < 0.95:
                self.delete_first_of(self.random.choice(mine))
            elif len(mine) > 1:
                chat = mine.pop(self.random.randrange(len(mine)))
                delete_conversation(conversation_id=chat, access=self.access)
            self.written += 1

    def append(self, chat):
        drafts = [MessageDraft(role="user", content="x")] * self.random.choice([1, 1, 3])
        with transaction.atomic():
            add_messages(conversation_id=chat, messages=drafts, access=self.access)
            if self.random.random() < 0.1:
                time.sleep(0.05)  # commits late
            if self.random.random() < 0.05:
                transaction.set_rollback(True)

    def delete_first_of(self, chat):
        first = Message.objects.of(self.owner.pk, chat).order_by("sequence").first()
        if first is not None:
            delete_message(conversation_id=chat, message_id=first.id, access=self.access)


def consume(limit, pause, done):
    """Everything that one reader is given, each page read from the cursor of the last."""
    found, after = [], 0
    while True:
        last_look = done.is_set()
        page = everything(after, limit)
        found += page.changes
        after = page.next_position
        if last_look and not page.changes:
            return found
        time.sleep(pause)


def rebuilt(found):
    """The sequences of each conversation that is left, by what a mirror would do."""
    chats, deleted = {}, set()
    for one in found:
        key = one.conversation_id
        assert key not in deleted, "something after the deletion of its conversation"
        match one.kind:
            case "conversation.created":
                assert key not in chats
                chats[key] = set()
            case "conversation.changed":
                assert key in chats
            case "conversation.deleted":
                del chats[key]
                deleted.add(key)
            case "message.created":
                new = set(range(one.first_sequence, one.last_sequence + 1))
                assert one.first_sequence == 1 + max(chats[key] | {0}) or not chats[key]
                chats[key] |= new
            case "message.deleted":
                chats[key].remove(one.first_sequence)
    return chats


def stored():
    chats = {key: set() for key in Conversation.objects.values_list("pk", flat=True)}
    for key, sequence in Message.objects.values_list("conversation_id", "sequence"):
        chats[key].add(sequence)
    return chats


def test_sixteen_writers_and_three_readers_of_different_paces():
    owner = make_user("alice")
    shared = make_conversation(owner, title="Shared").pk
    writers = [Writer(number, shared, owner) for number in range(WRITERS)]
    done = threading.Event()
    with ThreadPoolExecutor(WRITERS + 3) as pool:
        readers = [
            pool.submit(in_thread, consume, limit, pause, done)
            for limit, pause in ((1_000, 0.0), (200, 0.02), (40, 0.1))
        ]
        end = time.monotonic() + SECONDS
        for one in [pool.submit(in_thread, writer.until, end) for writer in writers]:
            one.result()
        done.set()
        seen = [reader.result() for reader in readers]
    positions = [[one.position for one in found] for found in seen]
    assert positions[0] == list(range(1, len(positions[0]) + 1))
    assert positions[1] == positions[2] == positions[0]
    assert sum(writer.written for writer in writers) > 100
    for found in seen:
        assert rebuilt(found) == stored()
