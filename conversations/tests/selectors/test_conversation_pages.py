"""Pages of an owner's list as the database writes them: the rows of a QuerySet in each order, the
same JSON as from Python's values, each by the index of its order."""

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from conversations.api.queries import conversation_from_model
from conversations.api.renderers import FastJSONRenderer
from conversations.formats import MessageDraft
from conversations.models import Conversation
from conversations.selectors.conversation_pages import (
    MAX_ROWS,
    find_conversation,
    page_of_conversations,
)
from conversations.services import SCRIPT, append_drafts
from conversations.tests.cluster import analyze
from conversations.tests.factories import make_conversation, make_user

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
ORDERS = [
    (by_creation, descending) for by_creation in (False, True) for descending in (True, False)
]
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
# Few times, so that many are equal.
TIMES = st.sampled_from([MOMENT + timedelta(microseconds=step) for step in (0, 1, 10, 1_000_000)])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "title": TEXTS.map(lambda text: text[:255]),
            "created_at": TIMES,
            "updated_at": TIMES,
            "archived_at": st.none() | TIMES,
            "pinned": st.booleans(),
            "tags": st.lists(TEXTS.map(lambda text: text[:50]), max_size=2),
            "metadata": st.dictionaries(TEXTS, st.none() | st.floats(-1e15, 1e15) | TEXTS),
            "external_id": st.none() | st.uuids().map(str),
            "forked_from": st.none() | st.uuids(),
        }
    ),
    max_size=9,
)


class Pages(TestCase):
    @settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.differing_executors]
    )
    @given(rows=ROWS, size=st.integers(1, 4), user_id=st.integers(0, 9) | TEXTS)
    def test_pages_are_those_of_a_queryset(self, rows, size, user_id):
        owner, other = make_user("alice"), make_user("bob")
        Conversation.objects.bulk_create(Conversation(user=owner, **row) for row in rows)
        make_conversation(other)
        for by_creation, descending in ORDERS:
            column = "created_at" if by_creation else "updated_at"
            sign = "-" if descending else ""
            stored = Conversation.objects.owned_by(owner.pk).order_by(
                f"{sign}{column}", f"{sign}id"
            )
            expected = [shown(conversation, user_id) for conversation in stored]
            found, beyond, more = [], None, True
            while more:
                page, other = (
                    page_of_conversations(
                        owner.pk,
                        user_id=user_id,
                        by_creation=by_creation,
                        descending=descending,
                        backward=backward,
                        beyond=beyond,
                        limit=size,
                    )
                    for backward in (False, True)
                )
                assert page.total == len(rows)
                assert conversations_of(other) == conversations_of(page)[::-1]
                assert (other.ends, other.more) == (page.ends, page.more)
                found += conversations_of(page)
                more = page.more
                beyond = more and page.ends[1]
            assert found == expected
            assert [list(row) for row in found] == [list(row) for row in expected]


def conversations_of(page):
    return json.loads(b"[%b]" % page.json)


def shown(conversation, user_id):
    return json.loads(FastJSONRenderer().render(conversation_from_model(conversation, user_id)))


@pytest.mark.django_db
def test_one_conversation_and_a_page_have_the_same_json(alice, bob):
    chat = make_conversation(alice, messages=3, title='"', metadata={"n": 1e22, "t": "\u2028é"})
    again = MessageDraft(role="user", content="again")
    append_drafts(conversation_id=chat.pk, drafts=[again], parents=["root"], access=SCRIPT)
    chat.refresh_from_db()
    (row,) = conversations_of(page_of_conversations(alice.pk, user_id="alice", limit=5))
    one = find_conversation(alice.pk, chat.pk, user_id="alice")
    rendered = json.loads(FastJSONRenderer().render(one))
    assert rendered == row == shown(chat, "alice")
    assert rendered["path_length"] == 1
    assert list(rendered) == list(one)
    assert find_conversation(bob.pk, chat.pk) is None
    assert page_of_conversations(bob.pk, user_id="bob", limit=5).total == 0


@pytest.mark.django_db
def test_an_empty_page_says_the_total(alice):
    chat = make_conversation(alice)
    end = (chat.updated_at.isoformat(), str(chat.pk))
    page = page_of_conversations(alice.pk, user_id="alice", beyond=end, limit=5)
    assert (page.json, page.ends, page.more, page.total) == (b"", None, False, 1)


@pytest.mark.django_db
def test_a_page_with_its_total_is_one_statement(alice, statements):
    make_conversation(alice)
    with statements() as seen:
        page_of_conversations(alice.pk, user_id="alice", limit=5)
    assert len(seen) == 1


READ = """
    SELECT relname, seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables
    WHERE relname IN ('conversations_conversation', 'conversations_conversationcount')
"""
SCANNED = """
    SELECT indexrelid::regclass::text, pg_stat_get_xact_numscans(indexrelid),
        pg_stat_get_xact_tuples_returned(indexrelid)
    FROM pg_index WHERE indrelid = 'conversations_conversation'::regclass
"""
PLAIN = """
    INSERT INTO conversations_conversation (id, user_id, title, model_used, metadata, pinned,
        legal_hold, source, message_count, last_sequence, created_at, updated_at)
    SELECT gen_random_uuid(), %s, 'x', '', '{}', false, false, 'api', 0, 0,
        now() - random() * interval '1 year', now() - random() * interval '1 year'
    FROM generate_series(1, %s)
"""


@pytest.mark.one_node("counts of tables are those of the coordinator")
@pytest.mark.django_db
def test_every_order_reads_its_own_rows_by_its_index(alice, bob):
    """Also of an owner to whom most conversations belong, in no order on disk: what a planner that
    knows neither owner nor limit would sort."""
    with connection.cursor() as cursor:
        cursor.execute(PLAIN, [alice.pk, 20_000])
        cursor.execute(PLAIN, [bob.pk, 100])
        analyze("conversations_conversation")
        for owner in (bob, alice) * 3:
            for by_creation, descending in ORDERS:
                for beyond in (None, (MOMENT.isoformat(), str(owner.conversations.first().pk))):
                    before = counted(cursor)
                    page = page_of_conversations(
                        owner.pk,
                        user_id="x",
                        by_creation=by_creation,
                        descending=descending,
                        beyond=beyond,
                        limit=random.choice([50, MAX_ROWS - 1]),
                    )
                    read = counted(cursor)
                    read.subtract(before)
                    rows = len(conversations_of(page))
                    assert read["conversations_conversation"] == 0
                    # And what the planner looks up.
                    assert read["conversations_conversation rows"] <= rows + 10
                    index = f"conversation_user_{'created' if by_creation else 'updated'}_idx"
                    assert read[f"{index} scans"] == 1
                    assert read[f"{index} rows"] <= rows + 1
                    assert read["conversations_conversationcount rows"] <= 1
                    assert page.total == (20_000 if owner == alice else 100)


def counted(cursor):
    """How often tables were read whole, and rows and scans of indexes."""
    found = Counter()
    cursor.execute(READ)
    for name, whole, rows in cursor.fetchall():
        found[name], found[f"{name} rows"] = whole, rows
    cursor.execute(SCANNED)
    for name, scans, rows in cursor.fetchall():
        found[f"{name} scans"], found[f"{name} rows"] = scans, rows
    return found
