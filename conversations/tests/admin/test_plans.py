"""How the database finds what the pages of staff show: never by reading all messages."""

import pytest

from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.admin.conftest import LIST, transcript_url
from conversations.tests.cluster import plan_lines_of
from conversations.tests.factories import make_conversation

SEARCHES = ["zeppelin", "train station", '"train station"', "owner-1"]
FILTERS = [
    "role=tool",
    "tool=book",
    "status=failed",
    "status=complete",
    "rating=-1",
    "reviewed=-1",
    "mode=booking",
    "provider=openai",
    "answer_model=m",
    "said_from=2026-01-01&said_to=2026-01-02",
    "status=failed&rating=1&provider=openai",
]
PAGES = [
    "/admin/",
    LIST,
    *(f"{LIST}?o={column}" for column in range(1, 7)),
    *(f"{LIST}?q={text}" for text in SEARCHES),
    *(f"{LIST}?{query}" for query in FILTERS),
    *(
        f"{LIST}known-values/?filter={name}&q=b"
        for name in ("model", "source", "tag", "tool", "provider", "answer_model", "mode")
    ),
    *(f"/api/search?user_id=*&q={text}" for text in SEARCHES),
]


@pytest.fixture
def chat(alice):
    chat = make_conversation(alice, 20, title="Trains")
    append_drafts(
        conversation_id=chat.pk,
        drafts=[MessageDraft(role="user", content="A train station for zeppelins")],
        access=SCRIPT,
    )
    return chat


def scans_of(sql):
    """How a statement comes to its messages by reading all of them."""
    return [line for line in plan_lines_of(sql) if "Seq Scan on conversations_message" in line]


def explained(seen):
    return [
        sql
        for sql in seen
        if '"conversations_message"' in sql or "conversations_message " in sql
        if sql.split()[0] in ("SELECT", "WITH")
    ]


@pytest.mark.parametrize("page", PAGES)
def test_no_page_reads_all_messages(root, chat, statements, page):
    with statements() as seen:
        assert root.get(page).status_code == 200
    assert [scan for sql in explained(seen) for scan in scans_of(sql)] == []


@pytest.mark.parametrize("query", ["", "?after=20", "?find=train", "?on=2026-01-01"])
def test_no_transcript_reads_all_messages(root, chat, statements, query):
    with statements() as seen:
        assert root.get(f"{transcript_url(chat)}{query}").status_code in (200, 302)
    assert explained(seen)
    assert [scan for sql in explained(seen) for scan in scans_of(sql)] == []
