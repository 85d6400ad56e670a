"""What is stored by COPY in batches is what appending message by message stores, row for row."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import count

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conversations.formats import Chat, MessageDraft
from conversations.services import import_batches
from conversations.services.import_batches import Item
from conversations.services.import_one import as_imported, check_chat, store_alone
from conversations.services.imports import import_conversations
from conversations.tests.factories import make_user

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.one_node("conversations are stored one by one on a cluster"),
]

NUMBERS = count()
# What COPY's text format, arrays and JSON have a meaning for.
SPECIAL = [
    "\\",
    "\\N",
    "\\.",
    "\t",
    "\n",
    "\r",
    '"',
    "{",
    "}",
    ",",
    "NULL",
    "'",
    "\b",
    "é",
    "漢字",
    "𝄞",
]
TEXT = st.lists(st.sampled_from(SPECIAL) | st.sampled_from("abc "), max_size=8).map("".join)
NAME = st.none() | TEXT
TIMES = st.datetimes(
    datetime(1, 1, 3), datetime(2026, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))])  # noqa: DTZ001, E501
)  # fmt: skip
COUNT = st.none() | st.integers(0, 2**31 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e300, 1e300) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
JSON_LIST = st.none() | st.lists(JSON, max_size=3)
JSON_OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
DRAFTS = st.builds(
    MessageDraft,
    role=st.sampled_from(["user", "assistant", "system", "tool", "developer"]),
    content=TEXT.map(lambda text: text + "x"),
    parts=JSON_LIST,
    tool_calls=st.none() | st.lists(JSON_OBJECT.filter(lambda call: "function" not in call)),
    tool_call_id=NAME,
    name=NAME,
    provider=TEXT,
    model=TEXT,
    sources=JSON_LIST,
    detected_mode=st.none() | st.sampled_from(SPECIAL),
    status=st.sampled_from(["complete", "stopped", "interrupted", "failed", "streaming"]),
    finish_reason=st.none() | st.sampled_from(SPECIAL),
    error=NAME,
    prompt_tokens=COUNT,
    completion_tokens=COUNT,
    cost=st.none() | st.decimals(0, 10**7, places=12),
    latency_ms=COUNT,
    rating=st.sampled_from([None, 1, -1]),
    rating_comment=NAME,
    metadata=JSON_OBJECT,
    extra=st.none() | JSON_OBJECT,
    created_at=TIMES,
)


@st.composite
def chats(draw):
    drafts = tuple(draw(st.lists(DRAFTS, max_size=8)))
    parents, active = (), None
    if drafts and draw(st.booleans()):
        parents = tuple(
            draw(st.none() | st.integers(0, at - 1)) if at else None for at in range(len(drafts))
        )
        active = draw(st.none() | st.integers(0, len(drafts) - 1))
    return Chat(
        line=1,
        file_id=str(next(NUMBERS)),
        title=draw(st.none() | st.just("New Chat") | TEXT.map(lambda text: text + "t")),
        model_used=draw(TEXT),
        metadata=draw(JSON_OBJECT),
        external_id=draw(st.none() | TEXT.map(lambda text: text + str(next(NUMBERS)))),
        tags=draw(st.lists(st.sampled_from([tag for tag in SPECIAL if tag.strip()]), max_size=4)),
        pinned=draw(st.booleans()),
        archived_at=draw(st.none() | TIMES),
        created_at=draw(TIMES),
        updated_at=draw(st.none() | TIMES),
        messages=drafts,
        parents=parents,
        active=active,
    )


TABLES = {
    "conversation": "user_id, id",
    "message": "conversation_id, sequence",
    # When a branch was made is the time of the import.
    "branch": "conversation_id, number",
    "tombstone": "id",
}


def stored_rows(owner):
    """Every column of every row of the owner's, as PostgreSQL writes it, and what follows."""
    rows = {}
    with connection.cursor() as cursor:
        for table, order in TABLES.items():
            cursor.execute(
                f"SELECT to_jsonb(t) - ARRAY[%s, %s] FROM conversations_{table} t"
                f" WHERE user_id = %s ORDER BY {order}",
                ["deleted_at", "created_at" if table == "branch" else "", owner.pk],
            )
            rows[table] = cursor.fetchall()
        cursor.execute(
            "SELECT conversation_id, min(first_sequence), max(last_sequence),"
            " count(*) FILTER (WHERE kind = 'conversation.created'),"
            " sum(last_sequence - first_sequence + 1) FILTER (WHERE kind = 'message.created')"
            " FROM conversations_pendingchange WHERE user_id = %s"
            " AND kind <> 'conversation.changed' GROUP BY 1 ORDER BY 1",
            [owner.pk],
        )
        rows["changes"] = cursor.fetchall()
        cursor.execute(
            "SELECT sum(number) FROM conversations_conversationcount WHERE user_id = %s", [owner.pk]
        )
        rows["count"] = cursor.fetchall()
    return rows


def rows_after(owner, store):
    """What is stored then; it is undone."""
    before = transaction.savepoint()
    store()
    rows = stored_rows(owner)
    transaction.savepoint_rollback(before)
    return rows


def store_each(owner, items):
    for chat in items:
        item = Item(chat, as_imported(chat), owner.pk, "import:test")
        check_chat(chat, item.drafts)
        assert store_alone(chat, item.drafts, item.ids, owner.pk, "import:test")


def store_at_once(owner, items):
    report = import_conversations(chats=items, owner_id=owner.pk, source="import:test")
    assert (report.created, report.rejected) == (len(items), [])


def refuse(*_):
    raise AssertionError("not stored by COPY")


@given(items=st.lists(chats(), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_batch_stores_the_rows_that_appending_stores(items):
    owner = make_user(f"owner{next(NUMBERS)}")
    one_by_one = rows_after(owner, lambda: store_each(owner, items))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_batches, "store_alone", refuse)
        assert rows_after(owner, lambda: store_at_once(owner, items)) == one_by_one


def line_of(messages, **values):
    drafts = tuple(
        MessageDraft(
            role="user",
            content=f"m{at}",
            # Not in order: what counts is the last one of each request that appends.
            created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=at * 37 % messages),
        )
        for at in range(messages)
    )
    at = datetime(2025, 1, 1, tzinfo=UTC)
    return Chat(line=1, file_id="long", messages=drafts, created_at=at, **values)


@pytest.mark.parametrize("messages", [999, 1_000, 1_001, 2_500])
def test_a_long_line_too(alice, monkeypatch, messages):
    items = [line_of(messages)]
    one_by_one = rows_after(alice, lambda: store_each(alice, items))
    monkeypatch.setattr(import_batches, "store_alone", refuse)
    assert rows_after(alice, lambda: store_at_once(alice, items)) == one_by_one


@pytest.mark.parametrize(
    "values",
    [
        {"parents": (None, *range(1_100), 3), "active": 1_100},
        {"parents": (None, *range(1_101)), "branches": (1,) * 1_102},
    ],
    ids=["a long tree", "without its first line"],
)
def test_what_appending_alone_stores_goes_along(alice, values):
    before = Chat(line=1, file_id="a", messages=line_of(1).messages)
    items = [before, line_of(1_102, **values), Chat(line=3, file_id="b", messages=before.messages)]
    one_by_one = rows_after(alice, lambda: store_each(alice, items))
    at_once = rows_after(alice, lambda: store_at_once(alice, items))
    for name in ("message", "branch", "conversation"):
        assert at_once[name] == one_by_one[name]
    assert at_once["count"] == [(3,)]


def test_costs_are_rounded_to_the_places_of_the_column(alice):
    draft = MessageDraft(role="user", content="x", cost=Decimal("1E-13") * 15)
    store_at_once(alice, [Chat(line=1, file_id="a", messages=(draft,))])
    with connection.cursor() as cursor:
        cursor.execute("SELECT cost::text FROM conversations_message")
        assert cursor.fetchone()[0] == "0.000000000002"


def test_a_message_of_50_million_characters_is_stored_as_it_is(alice):
    text = 'a"\\\t\n' * 10_000_000
    chat = Chat(line=1, file_id="a", messages=(MessageDraft(role="user", content=text),))
    store_at_once(alice, [chat])
    with connection.cursor() as cursor:
        cursor.execute("SELECT content = %s FROM conversations_message", [text])
        assert cursor.fetchone()[0]
