"""What PostgreSQL itself counts while a page of a conversation with many branches is read."""

import pytest
from django.db import connection

from conversations.formats import MessageDraft
from conversations.models.branch_path import LAST
from conversations.selectors.message_pages import ALL_BRANCHES, page_of_messages
from conversations.services import SCRIPT, append_drafts
from conversations.tests.cluster import analyze
from conversations.tests.factories import make_conversation

PAGE, BRANCHES, DEEP = 50, 200, 20
COUNTED = """
    SELECT sum(seq_scan), sum(idx_tup_fetch) FROM pg_stat_xact_user_tables
    WHERE relname = 'conversations_message'
"""
pytestmark = pytest.mark.one_node("counts of tables are those of the coordinator")


@pytest.fixture
def chat(alice):
    """200 branches of 20 messages, nested 20 deep, among other conversations."""
    for _ in range(3):
        make_conversation(alice, messages=1_000)
    chat = make_conversation(alice)
    drafts = [MessageDraft(role="user", content="x")] * 20
    middle = {}
    for number in range(BRANCHES):
        parent = "root" if number % DEEP == 0 else middle["id"]
        rows, _ = append_drafts(
            conversation_id=chat.pk,
            drafts=drafts,
            parents=[parent] + [None] * 19,
            access=SCRIPT,
        )
        middle = rows[10]
    for table in ("message", "branch", "conversation"):
        analyze(f"conversations_{table}")
    return chat


def counted(read):
    with connection.cursor() as cursor:
        cursor.execute(COUNTED)
        before = cursor.fetchone()
        read()
        cursor.execute(COUNTED)
        return [int(b - a) for a, b in zip(before, cursor.fetchone(), strict=True)]


@pytest.mark.django_db
def test_a_page_reads_its_own_rows_by_an_index(alice, chat):
    for branch in (None, 0, 199, ALL_BRANCHES):
        for low, high, descending in ((0, LAST, False), (2_000, LAST, False), (0, 3_000, True)):

            def read(at=(branch, low, high, descending)):
                branch, low, high, descending = at
                return page_of_messages(
                    *(alice.pk, chat.pk),
                    branch=branch,
                    above=low,
                    below=high,
                    descending=descending,
                    limit=PAGE,
                )

            scans, rows = counted(read)
            assert scans == 0
            # Each message, its place, its parent and the branches around it.
            assert rows <= 10 * PAGE


@pytest.mark.django_db
def test_an_append_reads_no_more_with_branches(alice, chat):
    line = make_conversation(alice, messages=100)

    def append(to):
        draft = MessageDraft(role="user", content="x")
        return lambda: append_drafts(conversation_id=to.pk, drafts=[draft], access=SCRIPT)

    on_a_line, on_a_branch = counted(append(line)), counted(append(chat))
    assert on_a_branch[0] == on_a_line[0]
    assert on_a_branch[1] <= on_a_line[1] + 10
