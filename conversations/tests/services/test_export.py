"""The data of an export, the number of its SQL queries, and who gets what."""

import json
import tracemalloc
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conversations.formats import RECORDED_FIELDS, WRITERS
from conversations.models import AccessRecord, Conversation, Message
from conversations.models.message import EMPTIED
from conversations.selectors import conversation_lines
from conversations.services import (
    SCRIPT,
    MessageDraft,
    append_drafts,
    delete_message,
    export_conversations,
    recorded_chats,
    review_message,
)
from conversations.services import export_batches as service
from conversations.services.errors import InvalidValue
from conversations.services.export import export_files
from conversations.tests.factories import access_of, make_conversation, make_user

pytestmark = pytest.mark.django_db


def review(conversation, message, staff, **values):
    review_message(
        conversation_id=conversation.pk,
        message_id=message.id,
        score=1,
        access=access_of(staff, reader=True, writer=True),
        **{"labels": ["kind"]} | values,
    )


def exported(file_format="jsonl", access=SCRIPT, rows=None, **options):
    rows = Conversation.objects.all() if rows is None else rows
    given = {"conversations": rows, "file_format": file_format, "access": access}
    return "".join(export_conversations(**given, **options))


def lines(**options):
    return [json.loads(line) for line in exported(**options).splitlines()]


def by_python(monkeypatch, **options):
    """The same export as the writer makes it, without the statement of the database."""
    with monkeypatch.context() as changed:
        changed.setattr(service, "WRITTEN_AT_ONCE", -1)
        return exported(**options)


def test_reviews_are_written_with_their_messages(alice, staff):
    make_conversation(alice, 6)
    reviewed = make_conversation(alice, 6)
    for message in Message.objects.filter(conversation=reviewed):
        review(reviewed, message, staff)
    chats = lines()
    assert [len(message["reviews"]) for chat in chats for message in chat["messages"]] == (
        [0] * 6 + [1] * 6
    )
    assert chats[1]["messages"][0]["reviews"][0]["labels"] == ["kind"]
    assert chats[1]["messages"][0]["reviews"][0]["reviewer"] == staff.username


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
NUMBERS = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=3)
FIRST, LAST = (datetime(*day) for day in ((1, 1, 2), (9999, 12, 30)))  # noqa: DTZ001
TIMES = st.datetimes(FIRST, LAST, timezones=st.just(UTC))
COUNTS = st.none() | st.integers(0, 2**31 - 1)
NAMES = st.none() | TEXTS
MESSAGES = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system", "tool", "developer"]),
        "content": TEXTS.map(lambda text: f"x{text}"),
        "parts": st.none() | st.lists(OBJECTS, max_size=2),
        "tool_calls": st.none() | st.lists(OBJECTS, max_size=2),
        "tool_call_id": NAMES,
        "name": NAMES,
        "provider": TEXTS,
        "model": TEXTS,
        "sources": st.none() | st.lists(OBJECTS, max_size=2),
        "detected_mode": NAMES,
        "status": st.sampled_from(["complete", "failed", "stopped", "interrupted"]),
        "finish_reason": NAMES,
        "error": NAMES,
        "prompt_tokens": COUNTS,
        "completion_tokens": COUNTS,
        "cached_tokens": COUNTS,
        "reasoning_tokens": COUNTS,
        "cost": st.none() | st.decimals(0, 1000, places=12),
        "latency_ms": COUNTS,
        "first_token_ms": COUNTS,
        "rating": st.sampled_from([None, 1, -1]),
        "rating_comment": NAMES,
        "metadata": OBJECTS,
        "extra": st.none() | OBJECTS,
        "emptied_at": st.none(),
        "created_at": TIMES,
    }
)
ANY_MESSAGES = MESSAGES | st.builds(
    lambda message, at: message | EMPTIED | {"emptied_at": at}, MESSAGES, TIMES
)
CHATS = st.fixed_dictionaries(
    {
        "title": TEXTS.map(lambda text: f"x{text}"),
        "model_used": TEXTS,
        "source": TEXTS,
        "metadata": OBJECTS,
        "tags": st.lists(TEXTS, max_size=3),
        "pinned": st.booleans(),
        "archived_at": st.none() | TIMES,
        "created_at": TIMES,
        "updated_at": TIMES,
    }
)
MANY = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@MANY
@given(chats=st.lists(st.tuples(CHATS, st.lists(ANY_MESSAGES, max_size=3)), max_size=3))
def test_the_database_writes_the_bytes_of_the_writer(chats, alice, monkeypatch):
    assert set(MESSAGES.wrapped_strategy.mapping) == set(RECORDED_FIELDS)
    Conversation.objects.all().delete()
    for values, messages in chats:
        count = {"message_count": len(messages), "last_sequence": len(messages)}
        chat = Conversation.objects.create(user=alice, **values, **count)
        Message.objects.bulk_create(
            Message(user=alice, conversation=chat, sequence=place, **message)
            for place, message in enumerate(messages, start=1)
        )
    for file_format in ("jsonl", "json"):
        written = exported(file_format)
        assert written == by_python(monkeypatch, file_format=file_format)
        found = json.loads(written) if file_format == "json" else written.split("\n")[:-1]
        assert len(found) == len(chats)


@pytest.mark.one_node("the database writes nothing")
@pytest.mark.parametrize("file_format", ["jsonl", "json"])
@pytest.mark.parametrize("most", [0, 2_000, 4_000, 9_000])
def test_what_is_too_long_for_the_database_is_written_in_pieces(
    alice, staff, monkeypatch, file_format, most
):
    chats = [make_conversation(alice, n) for n in (3, 40, 2, 0, 25, 1)]
    review(chats[1], chats[1].messages.in_order()[7], staff, labels=["a"])
    whole = exported(file_format)
    assert whole == by_python(monkeypatch, file_format=file_format)
    monkeypatch.setattr(conversation_lines, "MOST_BYTES", most)
    monkeypatch.setattr(recorded_chats, "PIECE_BYTES", 100)
    done = []
    assert exported(file_format, on_progress=done.append) == whole
    assert done[-1] == len(chats)


@pytest.mark.one_node("the database writes nothing")
def test_the_memory_of_an_export_does_not_grow_with_a_conversation(alice, monkeypatch):
    chat = make_conversation(alice)
    for number in range(30):
        draft = MessageDraft(role="user", content=f"{number}" + "x" * 1_000_000)
        append_drafts(conversation_id=chat.pk, drafts=[draft], access=SCRIPT)
    monkeypatch.setattr(conversation_lines, "MOST_BYTES", 4_000_000)
    monkeypatch.setattr(recorded_chats, "PIECE_BYTES", 2_000_000)
    pieces = export_conversations(
        conversations=Conversation.objects.all(), file_format="jsonl", access=SCRIPT
    )
    tracemalloc.start()
    length = sum(map(len, pieces))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert length > 30_000_000
    assert most < 12_000_000


def test_both_ways_agree_on_reviews_gaps_and_branches(alice, staff, monkeypatch):
    plain, reviewed, gaps, forked, empty = (make_conversation(alice, n) for n in (3, 3, 5, 3, 0))
    second = make_user("second", is_staff=True)
    for message in reviewed.messages.in_order()[:2]:
        review(reviewed, message, staff, comment='Said "so", \\ and\nmore', labels=["a", "b"])
        review(reviewed, message, second, labels=[])
    for place in (0, 2, 3):
        where = {"conversation_id": gaps.pk, "access": SCRIPT}
        delete_message(message_id=gaps.messages.in_order()[0 if not place else 1].id, **where)
    append_drafts(
        conversation_id=forked.pk,
        drafts=[MessageDraft(role="assistant", content="other")],
        parents=[forked.messages.in_order()[0].id],
        access=SCRIPT,
    )
    assert exported() == by_python(monkeypatch)
    found = {chat["id"]: chat for chat in lines()}
    assert [len(found[str(one.pk)]["messages"]) for one in (plain, gaps, forked, empty)] == (
        [3, 2, 4, 0]
    )
    assert found[str(forked.pk)]["active_branch"] == 1
    assert json.loads(exported("json")) == lines()


def test_the_order_does_not_depend_on_the_planner(alice, monkeypatch):
    """It would join in the order of the table, if it could."""
    for number in range(9, 0, -1):
        make_conversation(alice, 3, id=uuid.UUID(int=number, version=4))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_nestloop = off")
        written = exported()
    assert [int(json.loads(line)["id"][-1]) for line in written.splitlines()] == [*range(1, 10)]
    assert written == by_python(monkeypatch)


def test_an_export_of_nothing_is_a_whole_document():
    assert exported("jsonl") == ""
    assert json.loads(exported("json")) == json.loads(exported("sharegpt")) == []
    assert exported("csv").startswith("conversation_id,owner,")


@pytest.mark.parametrize("file_format", ["jsonl", "json", "csv", "openai", "sharegpt"])
def test_the_number_of_statements_does_not_grow_with_conversations(file_format, alice):
    def count():
        with CaptureQueriesContext(
            connection,
        ) as seen:
            exported(file_format)
        return len(seen)

    for _ in range(3):
        make_conversation(alice, 2)
    few = count()
    for _ in range(30):
        make_conversation(alice, 2)
    assert count() == few <= 5


@pytest.mark.parametrize(
    "file_format", [name for name, writer in WRITERS.items() if not writer.one_a_file]
)
def test_conversations_are_in_order_of_their_ids_in_every_format(file_format, alice, bob):
    chats = [make_conversation(user, 2) for user in (alice, bob, alice, bob)]
    text = exported(file_format)
    places = [text.index(str(chat.pk)) for chat in sorted(chats, key=lambda one: one.pk)]
    assert places == sorted(places)
    assert exported(file_format) == text


def test_a_web_page_has_one_conversation(alice):
    make_conversation(alice, 2)
    assert exported("html").endswith("</html>\n")
    make_conversation(alice, 2)
    with pytest.raises(InvalidValue, match="has one conversation: export to a folder"):
        exported("html")


@pytest.mark.parametrize("file_format", WRITERS)
def test_a_file_for_each_conversation_is_the_export_of_that_one(file_format, alice):
    for count in (0, 1, 3):
        make_conversation(alice, count)
    options = {"conversations": Conversation.objects.all(), "access": SCRIPT}
    files = {name: "".join(text) for name, text in export_files(file_format=file_format, **options)}
    extension = WRITERS[file_format].extension
    for chat in Conversation.objects.all():
        one = Conversation.objects.filter(pk=chat.pk)
        assert files.pop(f"{chat.pk}.{extension}") == exported(file_format, rows=one)
    assert not files


def test_owners_and_trusted_clients_get_no_reviews(alice, staff):
    chat = make_conversation(alice, 1)
    review(chat, chat.messages.get(), staff)
    for access in (access_of(alice), access_of(make_user("app"), trusted=True)):
        for file_format in ("jsonl", "csv", "markdown", "html"):
            assert "kind" not in exported(file_format, access)
    for access in (SCRIPT, access_of(staff, reader=True)):
        assert "kind" in exported("jsonl", access)


def test_staff_leave_a_record_for_each_conversation_of_somebody_else(alice, staff):
    theirs, own = make_conversation(alice, 2), make_conversation(staff, 1)
    exported("csv", access_of(staff, reader=True))
    exported("csv", access_of(alice), rows=Conversation.objects.owned_by(alice.pk))
    record = AccessRecord.objects.get()
    assert (record.conversation_id, record.owner_name) == (theirs.pk, "alice")
    assert record.detail == {"format": "csv", "messages": 2}
    assert own.pk != record.conversation_id


def test_what_is_appended_during_an_export_is_not_written(alice, monkeypatch):
    chats = [make_conversation(alice, 2) for _ in range(2)]
    monkeypatch.setattr(service, "BATCH", 1)
    pieces = export_conversations(
        conversations=Conversation.objects.all(), file_format="jsonl", access=SCRIPT
    )
    text = next(piece for piece in pieces if piece)
    Conversation.objects.filter(pk=chats[1].pk).delete()
    text += "".join(pieces)
    assert [json.loads(line)["id"] for line in text.splitlines()] == [str(chats[0].pk)]


def test_a_message_of_a_conversation_that_goes_on_growing_is_not_half_there(alice):
    chat = make_conversation(alice, 2)
    Message.objects.create(
        user=alice, conversation=chat, sequence=9, role="user", content="later", id=uuid.uuid4()
    )
    assert "later" not in exported()
    assert "later" not in exported("csv")


def test_times_and_amounts_are_exact(alice):
    at = datetime(2026, 1, 2, 3, 4, 5, 120, tzinfo=UTC)
    chat = make_conversation(alice)
    Conversation.objects.filter(pk=chat.pk).update(
        message_count=2, last_sequence=2, created_at=at, updated_at=at + timedelta(days=1)
    )
    for place, (cost, moment) in enumerate(
        [(Decimal("0.0000025"), at), (Decimal(100), at.replace(microsecond=0))], start=1
    ):
        Message.objects.create(
            user=alice, conversation=chat, sequence=place, role="user", content="x",
            cost=cost, created_at=moment,
        )  # fmt: skip
    (line,) = lines()
    assert line["created_at"] == "2026-01-02T03:04:05.000120+00:00"
    assert [(one["cost"], one["created_at"]) for one in line["messages"]] == [
        ("0.0000025", "2026-01-02T03:04:05.000120+00:00"),
        ("100", "2026-01-02T03:04:05+00:00"),
    ]
