"""A file of JSON Lines into an empty database, and out of it again: the same bytes."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import reduce

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conversations.formats import COST_PLACES
from conversations.models import (
    Branch,
    Change,
    Conversation,
    ConversationCount,
    Message,
    Review,
    Tombstone,
)
from conversations.selectors.branches import count_on
from conversations.selectors.retention import Due
from conversations.services import (
    SCRIPT,
    MessageDraft,
    append_drafts,
    delete_conversation,
    delete_message,
    export_conversations,
    find_or_create_user,
    import_batches,
    review_message,
    update_conversation,
)
from conversations.services.changes import sequence_changes
from conversations.services.emptying import empty_whole
from conversations.tests.factories import access_of, make_conversation, make_superuser, make_user
from conversations.tests.generated_messages import JSON, TEXT
from conversations.tests.services.test_exported_trees import OPERATIONS, grow

AT = datetime(2025, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
CALL = {"id": "c", "type": "function", "function": {"name": "find", "arguments": "{}"}}
NUMBERS = {
    "big": 2**64 - 1,
    "low": -(2**63),
    "e22": 1e22,
    "e300": 1.5e300,
    "tiny": 5e-324,
    "f": 1.0,
}

pytestmark = pytest.mark.django_db


def exported(file_format="jsonl"):
    given = {"conversations": Conversation.objects.all(), "file_format": file_format}
    return "".join(export_conversations(access=SCRIPT, **given))


@pytest.fixture
def restore(tmp_path, capsys):
    """Run the command on a text; its counts."""

    def run(text, *arguments):
        file = tmp_path / "everything.jsonl"
        file.write_bytes(text.encode())
        with suppress(SystemExit):
            call_command("import_conversations", str(file), "--as-exported", "--json", *arguments)
        found = json.loads(capsys.readouterr().out)
        reasons = [each["reason"] for each in found["first_rejections"]]
        return found["created"], found["already_stored"], reasons

    return run


def add(chat, *drafts, **options):
    append_drafts(conversation_id=chat.pk, drafts=list(drafts), access=SCRIPT, **options)


def review(chat, reviewer, place=0, **values):
    message = chat.messages.in_order()[place]
    values = {"score": 1, "labels": ["kind", "“é”"], "comment": "Well said"} | values
    review_message(
        conversation_id=chat.pk, message_id=message.id,
        access=access_of(reviewer, reader=True, writer=True), **values,
    )  # fmt: skip


def everything():
    """Conversations of several owners with all that a file has."""
    alice, staff = make_user("alice"), make_user("support", is_staff=True)
    full = make_conversation(
        alice, title="Trains", metadata={"a": 1.5, "b": [None, "é"], **NUMBERS}, tags=["x", "y"],
        external_id="E-1", model_used="m",
    )  # fmt: skip
    update_conversation(conversation_id=full.pk, access=SCRIPT, changes={"pinned": True})
    add(
        full,
        MessageDraft(role="user", content="Hi\n\u2028“there”\x1e\\", created_at=AT, extra=NUMBERS),
        MessageDraft(
            role="assistant", content="Hello", tool_calls=[CALL], model="m", provider="p",
            sources=[{"t": 1}], cost=Decimal("0.0000025"), prompt_tokens=3, rating=-1,
            rating_comment="No", created_at=AT + timedelta(seconds=1), finish_reason="stop",
            parts=[{"type": "text", "text": "Hello"}], metadata={"k": NUMBERS},
        ),
        MessageDraft(role="tool", content="", tool_call_id="c", name="find"),
    )  # fmt: skip
    review(full, staff), review(full, staff, 1, score=-1, labels=[], comment="")
    review(full, make_user("left", is_staff=True), 1)
    gaps = make_conversation(alice, 4)
    for place in (1, 0):
        message = gaps.messages.in_order()[place]
        delete_message(conversation_id=gaps.pk, message_id=message.id, access=SCRIPT)
    forked = make_conversation(find_or_create_user("bob", namespace="crm"), 3)
    first = forked.messages.in_order()[0].id
    add(forked, MessageDraft(role="assistant", content="other"), parents=[first])
    add(forked, MessageDraft(role="user", content="again"), parents=["root"])
    update_conversation(conversation_id=forked.pk, access=SCRIPT, changes={"archived": True})
    review(forked, staff, 3)
    empty = make_conversation(alice, 2, title="Gone", metadata={"a": 1})
    empty_whole(alice.pk, [empty.pk])
    make_conversation(make_superuser(), 1, title="New Chat")
    make_conversation(alice)


def clear():
    """As after `migrate`, but for the records of accesses, which nothing removes."""
    Conversation.objects.all().delete()
    Tombstone.objects.all().delete()
    User.objects.all().delete()
    sequence_changes()
    Change.objects.all().delete()
    assert not Message.objects.exists()
    assert not Review.objects.exists()


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def text_of(*lines):
    return "".join(json.dumps(line) + "\n" for line in lines)


def same_but(text, **values):
    """The first conversation of the text with these values."""
    return text_of(lines_of(text)[0] | values)


def test_what_is_exported_imported_and_exported_again_is_the_same(restore):
    everything()
    before = exported()
    clear()
    assert restore(before) == (6, 0, [])
    assert exported() == before
    assert restore(before) == (0, 6, [])


def test_json_is_restored_as_jsonl_is(restore):
    everything()
    before, text = exported(), exported("json")
    clear()
    assert restore(text, "--format", "json") == (6, 0, [])
    assert exported() == before


def test_an_export_is_the_same_each_time():
    everything()
    assert exported() == exported()


WORDS = TEXT.map(lambda text: text.replace("\x00", " "))
STORABLE = JSON.map(lambda value: json.loads(json.dumps(value).replace("\\u0000", "?")))
OBJECTS = st.dictionaries(WORDS, STORABLE | st.floats(allow_nan=False, allow_infinity=False))
COSTS = st.decimals(0, 10**7, allow_nan=False, places=COST_PLACES)
DRAFTS = st.lists(
    st.builds(
        MessageDraft,
        role=st.sampled_from(["user", "assistant", "system", "tool", "developer"]),
        content=WORDS.map(lambda text: f"x{text}"),
        status=st.sampled_from(["complete", "stopped", "failed", "interrupted"]),
        parts=st.none() | st.lists(STORABLE, max_size=2),
        sources=st.none() | st.lists(OBJECTS, max_size=2),
        extra=st.none() | OBJECTS,
        metadata=OBJECTS,
        cost=st.none() | COSTS,
        rating=st.sampled_from([None, 1, -1]),
        rating_comment=st.none() | WORDS,
        prompt_tokens=st.none() | st.integers(0, 2**31 - 1),
        error=st.none() | WORDS,
        name=st.none() | WORDS,
        created_at=st.none()
        | st.integers(-(2**33), 0).map(lambda n: AT + timedelta(microseconds=n * 377_777)),
    ),
    max_size=4,
)
CHATS = st.tuples(OPERATIONS, DRAFTS, OBJECTS, st.lists(WORDS, max_size=3), st.booleans())


def grown(operations, drafts, metadata, comments, emptied):
    """Trees with deletions, and at the end messages with all kinds of values."""
    chat = make_conversation(make_user(f"owner{User.objects.count()}"), metadata=metadata)
    grow(chat, operations)
    if drafts:
        add(chat, *drafts)
    count = chat.messages.count()
    if emptied:
        empty_whole(chat.user_id, [chat.pk])
    for number, comment in enumerate(comments if count else ()):
        review(
            chat, make_user(f"{chat.pk}{number}", is_staff=True), number % count, comment=comment
        )


@given(chats=st.lists(CHATS, max_size=3))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_generated_conversations_are_the_same_afterwards(restore, chats):
    clear()
    for chat in chats:
        grown(*chat)
    before = exported()
    clear()
    assert restore(before) == (len(chats), 0, [])
    assert exported() == before
    assert restore(before) == (0, len(chats), [])
    for branch in Branch.objects.all():
        assert branch.length == count_on(branch.user_id, branch.conversation_id, branch.path)


def test_what_follows_from_the_rows_is_there(restore):
    everything()
    before = exported()
    clear()
    restore(before)
    alice = User.objects.get(username="alice")
    assert not alice.has_usable_password()
    counts = ConversationCount.objects.filter(user=alice)
    assert counts.aggregate(total=Sum("number"))["total"] == 4
    for chat in Conversation.objects.all():
        rows = chat.messages.in_order()
        assert chat.message_count == len(rows)
        assert chat.last_sequence == (rows.last().sequence if rows else 0)
    sequence_changes()
    kinds = sorted(Change.objects.values_list("kind", flat=True))
    assert kinds == ["conversation.created"] * 6 + ["message.created"] * 5


def test_emptied_conversations_are_not_due_again(restore):
    everything()
    before = exported()
    clear()
    restore(before)
    due = Due(act="empty").conversations()
    emptied = Conversation.objects.get(messages__emptied_at__isnull=False, messages__sequence=1)
    assert emptied.emptied_through == 2
    assert emptied not in due


def test_messages_go_on_after_the_highest_sequence(restore):
    chat = make_conversation(make_user(), 3)
    second = chat.messages.in_order()[1]
    delete_message(conversation_id=chat.pk, message_id=second.id, access=SCRIPT)
    text = exported()
    clear()
    restore(text)
    add(chat, MessageDraft(role="user", content="more"))
    assert list(chat.messages.in_order().values_list("sequence", flat=True)) == [1, 3, 4]


def test_a_review_is_its_reviewers_where_there_is_one(restore):
    staff = make_user("support", is_staff=True)
    chat = make_conversation(make_user(), 1)
    review(chat, staff), review(chat, make_user("left", is_staff=True), score=-1)
    # Two accounts have had this name, one after the other.
    Review.objects.filter(reviewer_name="left").update(reviewer_name="support")
    text = exported()
    clear()
    again = make_user("support", is_staff=True)
    assert restore(text) == (1, 0, [])
    assert exported() == text
    reviews = Review.objects.order_by("id").values_list("reviewer_id", "score")
    assert reviews[0] == (again.pk, 1)
    assert reviews[1][0] < 0


def test_conversations_of_staff_are_theirs_again(restore):
    make_conversation(make_superuser(), 1)
    text = exported()
    clear()
    root = make_superuser()
    assert restore(text) == (1, 0, [])
    assert Conversation.objects.get().user == root


def test_an_id_of_another_owner_is_refused(restore):
    chat = make_conversation(make_user(), 1)
    text = exported()
    refused = restore(same_but(text, owner="eve"))
    assert refused == (0, 0, ["id: A conversation of another owner has this id."])
    assert Conversation.objects.get().user == chat.user


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("title", "Another"),
        ("metadata", {"a": True}),
        ("tags", ["z"]),
        ("source", "else"),
        ("updated_at", "2030-01-01T00:00:00+00:00"),
        ("messages.1.content", "else"),
        ("messages.1.rating", 1),
        ("messages.1.sequence", 7),
        ("messages.0.reviews", []),
        ("messages.0.created_at", "2020-01-01T00:00:00+00:00"),
        ("messages.0.id", "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_what_is_stored_with_other_values_is_refused_and_stays(restore, path, value):
    chat = make_conversation(make_user(), 2, metadata={"a": 1})
    review(chat, make_user("support", is_staff=True))
    text = exported()
    changed = lines_of(text)[0]
    *names, last = path.split(".")
    reduce(lambda at, name: at[int(name) if name.isdigit() else name], names, changed)[last] = value
    refused = f"{path}: The conversation stored under this id has another value here."
    assert restore(text_of(changed)) == (0, 0, [refused])
    assert restore(text_of(changed), "--dry-run") == (0, 0, [refused])
    assert exported() == text


def test_what_has_more_messages_since_is_refused(restore):
    chat = make_conversation(make_user(), 2)
    text = exported()
    add(chat, MessageDraft(role="user", content="more"))
    refused = "messages: The conversation stored under this id has another value here."
    assert restore(text) == (0, 0, [refused])


def test_what_was_deleted_stays_deleted(restore):
    chat = make_conversation(make_user(), 1)
    text = exported()
    delete_conversation(conversation_id=chat.pk, access=SCRIPT)
    for copy in (text, same_but(text, owner="eve")):
        created, _, (reason,) = restore(copy)
        assert created == 0
        assert reason.startswith("id: This id")
        assert "deleted" in reason


def test_an_external_id_of_another_conversation_is_refused(restore):
    make_conversation(make_user(), 1, external_id="E")
    text = same_but(exported(), id="00000000-0000-0000-0000-000000000001")
    refused = ["external_id: Another conversation of this owner has this external id."]
    assert restore(text) == (0, 0, refused)


@pytest.mark.parametrize("arguments", [[], ["--dry-run"]])
def test_the_same_conversation_twice_in_a_file_is_stored_once(restore, arguments):
    make_conversation(make_user(), 2)
    text = exported()
    clear()
    created, stored, (reason,) = restore(text + text + same_but(text, title="Else"), *arguments)
    assert (created, stored) == (1, 1)
    assert "has another value" in reason or "with other values" in reason
    assert (exported() == text) is not bool(arguments)


def test_what_another_process_stores_meanwhile_is_already_stored(restore, monkeypatch):
    make_conversation(make_user(), 2)
    text = exported()
    clear()

    copied = import_batches._copied

    def interfering(rows):
        monkeypatch.setattr(import_batches, "_copied", copied)
        assert restore(text) == (1, 0, [])
        return copied(rows)

    monkeypatch.setattr(import_batches, "_copied", interfering)
    assert restore(text) == (0, 1, [])
    assert exported() == text


def test_nothing_of_a_refused_conversation_is_stored(restore):
    make_conversation(make_user(), 2)
    line = lines_of(exported())[0]
    clear()
    line["messages"][1]["role"] = "robot"
    created, _, (reason,) = restore(text_of(line))
    assert created == 0
    assert reason.startswith("messages.1.role: ")
    assert not Conversation.objects.exists()
    assert not User.objects.exists()
