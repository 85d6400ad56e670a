import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from conversations.formats import READERS, Chat, MessageDraft, Rejected
from conversations.models import Conversation, Message, derived_id
from conversations.services import SCRIPT, delete_conversation, export_conversations, imports
from conversations.services.conversations import insert_conversation
from conversations.services.import_additions import STORED_DIFFERS
from conversations.services.imports import import_conversations
from conversations.services.messages import add_message, delete_message, update_message
from conversations.services.users import find_or_create_user
from conversations.tests.factories import BOOKINGS_FILE
from conversations.tests.formats.test_openai import READ_OTHERWISE_BEFORE

pytestmark = pytest.mark.django_db

HELLO = {"role": "user", "content": "Hello"}


@pytest.fixture
def owner():
    return find_or_create_user("ann")


def import_lines(owner, *lines, **options):
    """A file with these lines: bytes, or values that are serialised as JSON."""
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return import_chats(owner, READERS["openai"](io.BytesIO(b"\n".join(texts))), **options)


def import_chats(owner, chats, **options):
    return import_conversations(chats=chats, owner_id=owner.pk, source="import:openai", **options)


def import_bookings(owner):
    with BOOKINGS_FILE.open("rb") as file:
        return import_chats(owner, READERS["openai"](file))


def lines_of_bookings():
    return [json.loads(line) for line in BOOKINGS_FILE.read_text().splitlines()]


def stored_conversation(file_id):
    return Conversation.objects.get(metadata__openai__id=file_id)


def as_in_file(message):
    """A stored message in the format of the file."""
    said = {"role": message.role, "content": message.content}
    if message.tool_calls:
        said |= {"content": message.content or None, "tool_calls": message.tool_calls}
    if message.tool_call_id is not None:
        said["tool_call_id"] = message.tool_call_id
    return said


def test_a_file_is_stored_field_by_field(owner):
    report = import_bookings(owner)
    assert (report.read, report.created, report.already_there) == (5, 5, 0)
    assert (report.messages, report.tool_calls, report.rejected) == (58, 8, [])
    for line in lines_of_bookings():
        conversation = stored_conversation(line["id"])
        messages = list(conversation.messages.in_order())
        assert [as_in_file(message) for message in messages] == line["messages"]
        assert [message.sequence for message in messages] == list(range(1, len(messages) + 1))
        assert conversation.metadata == {**line["metadata"], "openai": {"id": line["id"]}}
        assert conversation.message_count == conversation.last_sequence == len(messages)
        assert conversation.user_id == owner.pk
        assert conversation.source == "import:openai"
        assert line["messages"][0]["content"].startswith(conversation.title[:20])


def test_each_tool_result_answers_a_call_of_the_same_conversation(owner):
    import_bookings(owner)
    results = Message.objects.filter(role="tool")
    assert results.count() == 8
    for result in results:
        before = Message.objects.filter(
            conversation_id=result.conversation_id, sequence=result.sequence - 1
        ).get()
        assert [call["id"] for call in before.tool_calls] == [result.tool_call_id]


def test_a_second_run_creates_nothing(owner):
    import_bookings(owner)
    rows = list(Message.objects.order_by("conversation_id", "sequence").values())
    report = import_bookings(owner)
    assert (report.read, report.created, report.already_there) == (5, 0, 5)
    assert (report.messages, report.tool_calls, report.rejected) == (0, 0, [])
    assert list(Message.objects.order_by("conversation_id", "sequence").values()) == rows
    assert Conversation.objects.count() == 5


def test_a_second_run_knows_numbers_as_the_database_writes_them(owner):
    # jsonb returns 1e23 as an integer.
    message = MessageDraft(
        role="user", content="x", parts=[{"a": 1e23, "b": [2**63, 1.5]}], metadata={"c": 1e22}
    )
    chat = Chat(line=1, file_id="k", messages=(message,))
    assert import_chats(owner, [chat]).created == 1
    again = import_chats(owner, [chat])
    assert (again.already_there, again.rejected) == (1, [])


def test_the_same_file_for_another_user_is_another_import(owner):
    import_lines(owner, {"id": "a", "messages": [HELLO]})
    report = import_lines(find_or_create_user("bob"), {"id": "a", "messages": [HELLO]})
    assert report.created == 1
    assert Conversation.objects.count() == 2


def test_lines_without_an_id_are_known_by_their_content(owner):
    line = {"messages": [HELLO]}
    assert import_lines(owner, line).created == 1
    report = import_lines(owner, line, {"messages": [HELLO, HELLO]}, line)
    assert (report.created, report.already_there) == (1, 2)


def test_another_conversation_under_a_known_id_is_rejected(owner):
    import_lines(owner, {"id": "a", "messages": [HELLO, {**HELLO, "content": "Two"}]})
    report = import_lines(owner, {"id": "a", "messages": [HELLO, {**HELLO, "content": "Zwei"}]})
    assert (report.created, report.already_there) == (0, 0)
    assert report.rejected == [Rejected(1, f"messages.1.content: {STORED_DIFFERS}")]
    assert list(Message.objects.in_order().values_list("content", flat=True)) == ["Hello", "Two"]


@pytest.mark.parametrize("key", READ_OTHERWISE_BEFORE)
@pytest.mark.parametrize("id_", [{}, {"id": "a"}])
def test_a_file_that_an_earlier_release_imported_is_recognised(owner, key, id_):
    line = {"messages": READ_OTHERWISE_BEFORE[key], **id_}
    (chat,) = READERS["openai"](io.BytesIO(json.dumps(line).encode()))
    assert import_chats(owner, [chat.earlier or chat]).created == 1
    report = import_lines(owner, line)
    assert (report.already_there, report.rejected) == (1, [])
    assert Conversation.objects.count() == 1


def test_what_an_earlier_release_imported_and_was_deleted_is_not_imported_again(owner):
    line = {"messages": next(iter(READ_OTHERWISE_BEFORE.values()))}
    (chat,) = READERS["openai"](io.BytesIO(json.dumps(line).encode()))
    import_chats(owner, [chat.earlier])
    delete_conversation(conversation_id=Conversation.objects.get().pk, access=SCRIPT)
    report = import_lines(owner, line)
    assert (report.created, len(report.rejected)) == (0, 1)


def test_a_conversation_that_has_grown_in_the_file_is_extended(owner):
    report = import_lines(
        owner, {"id": "a", "messages": [HELLO]}, {"id": "a", "messages": [HELLO, HELLO]}
    )
    assert (report.created, report.extended, report.messages) == (1, 1, 2)
    assert report.rejected == []
    assert Message.objects.count() == 2


def test_a_conversation_that_was_continued_is_already_there(owner):
    line = {"id": "a", "messages": [HELLO]}
    import_lines(owner, line)
    conversation = stored_conversation("a")
    add_message(conversation_id=conversation.pk, role="assistant", content="Hi")
    update_message(
        conversation_id=conversation.pk,
        message_id=conversation.messages.in_order()[0].id,
        changes={"rating": 1, "metadata": {"seen": True}},
        access=SCRIPT,
    )
    assert import_lines(owner, line).already_there == 1


def test_a_message_that_was_deleted_does_not_come_back(owner):
    line = {"id": "a", "messages": [HELLO, {"role": "assistant", "content": "Hi"}]}
    import_lines(owner, line)
    conversation = stored_conversation("a")
    first = conversation.messages.in_order()[0]
    delete_message(conversation_id=conversation.pk, message_id=first.id, access=SCRIPT)
    assert import_lines(owner, line).already_there == 1
    assert [message.content for message in conversation.messages.in_order()] == ["Hi"]


def test_text_is_stored_exactly_and_of_any_length(owner):
    text = "  two\r\nlines\u2028 " + "é" * 20_000 + "\n "
    report = import_lines(
        owner, {"id": "a", "title": " T ", "messages": [{"role": "user", "content": text}]}
    )
    assert report.created == 1
    assert Message.objects.get().content == text
    assert Conversation.objects.get().title == " T "


def test_absent_fields_get_defaults(owner):
    before = datetime.now(UTC)
    import_lines(owner, {"messages": [HELLO]})
    message, conversation = Message.objects.get(), Conversation.objects.get()
    assert (message.provider, message.model, message.name) == ("", "", None)
    assert (message.parts, message.tool_calls, message.tool_call_id) == (None, None, None)
    assert (message.metadata, message.status) == ({}, "complete")
    assert before <= conversation.created_at <= message.created_at


def test_times_of_the_file_are_kept(owner):
    start = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    messages = [
        MessageDraft(role="user", content=str(hour), created_at=start + timedelta(hours=hour))
        for hour in range(3)
    ]
    import_chats(owner, [Chat(line=1, messages=tuple(messages), file_id="a")])
    conversation = Conversation.objects.get()
    assert conversation.created_at == start
    assert conversation.updated_at == start + timedelta(hours=2)
    assert [row.created_at for row in Message.objects.in_order()] == [
        message.created_at for message in messages
    ]


BAD_LINES = {
    "unknown role": ({"messages": [HELLO, {"role": "User", "content": "x"}]}, "messages.1.role: "),
    "empty content": ({"messages": [{"role": "user", "content": ""}]}, "messages.0.content: "),
    "NUL": ({"messages": [{"role": "user", "content": "\x00"}]}, "messages.0.content: "),
    "surrogate": ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages.0.content: "),
    "surrogate in a part": (
        {"messages": [{"role": "user", "content": [{"type": "x", "x": "\udfff"}]}]},
        "messages.0.parts.0.x: ",
    ),
    "surrogate in the id": ({"id": "\ud800", "messages": [HELLO]}, "id: "),
    "NUL in the title": ({"title": "a\x00", "messages": [HELLO]}, "title: "),
    "long title": ({"title": "a" * 256, "messages": [HELLO]}, "title: "),
    "long name": ({"messages": [{**HELLO, "name": "a" * 256}]}, "messages.0.name: "),
    "NaN": (
        b'{"metadata": {"a": [NaN]}, "messages": [{"role": "user", "content": "x"}]}',
        "metadata.a.0: ",
    ),
    "large number": ({"metadata": {"a": 2**64}, "messages": [HELLO]}, "metadata.a: "),
    "large metadata": ({"metadata": {"a": "a" * 70_000}, "messages": [HELLO]}, "metadata: "),
    "deep tool call": (
        b'{"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "x", "x": '
        + b"[" * 50 + b"]" * 50 + b"}]}]}",
        "messages.0.tool_calls: ",
    ),
    "deep metadata without id": (
        b'{"metadata": ' + b'{"a":' * 500 + b"1" + b"}" * 500
        + b', "messages": [{"role": "user", "content": "x"}]}',
        "metadata: ",
    ),
    "no JSON": (b"{]", "Not JSON: "),
    "no messages": ({"messages": []}, "messages: "),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_named_and_loses_no_other(owner, name):
    bad, expected = BAD_LINES[name]
    good = [{"id": id_, "messages": [HELLO]} for id_ in "ab"]
    report = import_lines(owner, good[0], bad, good[1])
    assert (report.read, report.created, report.messages) == (3, 2, 2)
    ((line, reason),) = [(rejected.line, rejected.reason) for rejected in report.rejected]
    assert line == 2
    assert reason.startswith(expected)
    assert Conversation.objects.count() == 2


def test_5000_messages_are_stored_in_order(owner):
    messages = [{"role": "user", "content": str(number)} for number in range(5_000)]
    report = import_lines(owner, {"id": "long", "messages": messages})
    assert (report.created, report.messages) == (1, 5_000)
    rows = list(Message.objects.in_order().values_list("sequence", "content"))
    assert rows == [(number + 1, str(number)) for number in range(5_000)]
    assert Conversation.objects.get().message_count == 5_000
    assert import_lines(owner, {"id": "long", "messages": messages}).already_there == 1


def test_a_bad_message_deep_in_a_long_conversation_leaves_nothing_of_it(owner):
    messages = [{"role": "user", "content": str(number)} for number in range(2_500)]
    messages[2_345] = {"role": "nobody", "content": "x"}
    report = import_lines(owner, {"messages": messages})
    assert report.rejected[0].reason.startswith("messages.2345.role: ")
    assert not Conversation.objects.exists()
    assert not Message.objects.exists()


def test_conversations_are_stored_in_batches_as_they_come(owner, monkeypatch):
    monkeypatch.setattr(imports, "BATCH_CONVERSATIONS", 2)

    def chats():
        for number in range(5):
            assert Conversation.objects.count() == number // 2 * 2
            yield Chat(
                line=number + 1,
                messages=(MessageDraft(role="user", content="Hello"),),
                file_id=str(number),
            )

    seen = []
    report = import_chats(
        owner, chats(), on_progress=lambda report: seen.append((report.read, report.created))
    )
    assert report.created == 5
    assert seen == [(2, 2), (4, 4), (5, 5)]


@pytest.mark.one_node("a batch is stored one by one")
def test_a_batch_takes_two_queries_and_two_copies(owner, statements):
    with statements() as seen:
        import_lines(owner, *[{"id": str(i), "messages": [HELLO] * 50} for i in range(20)])
    # Which are stored, which were deleted; the conversations, and their messages.
    assert len(seen) == 4
    assert Message.objects.count() == 1_000


def test_a_batch_that_is_stored_takes_three_queries(owner, statements):
    lines = [{"id": str(i), "messages": [HELLO] * 5} for i in range(20)]
    import_lines(owner, *lines)
    with statements() as seen:
        assert import_lines(owner, *lines).already_there == 20
    assert len(seen) == 3


def move_to_id(stored, new_id):
    """The conversation and its messages under another id."""
    messages = list(Message.objects.filter(conversation_id=stored.pk))
    Conversation.objects.filter(pk=stored.pk, user_id=stored.user_id).delete()
    stored.pk = new_id
    assert insert_conversation(stored)
    for message in messages:
        message.conversation_id = new_id
    Message.objects.bulk_create(messages)


def test_what_an_earlier_release_imported_is_already_there(owner):
    """Ids of earlier releases did not depend on the secret; a repeated import finds them."""
    line = {"id": "a", "messages": [HELLO]}
    import_lines(owner, line)
    old_id, stored = derived_id(owner.pk, "import:openai:a"), Conversation.objects.get()
    assert old_id != stored.pk
    move_to_id(stored, old_id)
    report = import_lines(owner, line)
    assert (report.created, report.already_there) == (0, 1)
    assert Conversation.objects.get().pk == old_id


def test_a_deleted_conversation_is_not_imported_again(owner):
    line = {"id": "a", "messages": [HELLO]}
    import_lines(owner, line)
    delete_conversation(conversation_id=Conversation.objects.get().pk, access=SCRIPT)
    report = import_lines(owner, line)
    assert (report.created, len(report.rejected)) == (0, 1)
    assert "deleted" in report.rejected[0].reason


RATED = {
    "role": "assistant",
    "content": "Hi",
    "provider": "vllm",
    "model": "qwen3",
    "sources": [{"title": "T"}],
    "detected_mode": "support",
    "status": "failed",
    "finish_reason": "provider_error",
    "error": "E",
    "latency_ms": 7,
    "rating": -1,
    "rating_comment": "No",
    "created_at": "2026-01-02T03:04:05.600000+00:00",
}


def import_json(owner, *lines):
    text = "\n".join(map(json.dumps, lines)).encode()
    return import_conversations(
        chats=READERS["json"](io.BytesIO(text)), owner_id=owner.pk, source="import:json"
    )


def exported(owner):
    """The owner's conversations as exported, by title."""
    pieces = export_conversations(
        conversations=Conversation.objects.owned_by(owner.pk), file_format="jsonl", access=SCRIPT
    )
    lines = [json.loads(line) for line in "".join(pieces).splitlines()]
    return sorted(lines, key=lambda line: line["title"])


def without(values, *names):
    return {name: value for name, value in values.items() if name not in names}


def test_what_was_exported_is_imported_as_it_was(owner):
    given = {
        "id": "a",
        "title": "A",
        "model_used": "qwen3",
        "metadata": {"b": 1},
        "external_id": "ticket-7",
        "tags": ["billing", "vip"],
        "pinned": True,
        "archived_at": "2026-01-04T00:00:00+00:00",
        "created_at": "2026-01-01T00:00:00+00:00",
        "updated_at": "2026-01-05T00:00:00+00:00",
        "messages": [HELLO, RATED],
    }
    import_json(owner, given, {"title": "Empty", "messages": []})
    first = exported(owner)
    assert first[0] | without(given, "id", "messages") == first[0]
    assert first[0]["messages"][1] | RATED == first[0]["messages"][1]

    bob = find_or_create_user("bob")
    assert import_json(bob, *first).created == 2
    assert import_json(bob, *first).already_there == 2
    for before, after in zip(first, exported(bob), strict=True):
        own = ("id", "owner", "messages")
        assert without(after, *own) == without(before, *own)
        assert [without(said, "id") for said in after["messages"]] == [
            without(said, "id") for said in before["messages"]
        ]


def test_an_external_id_of_another_conversation_is_named_and_nothing_is_stored(owner):
    line = {"id": "a", "external_id": "ticket-7", "messages": [HELLO]}
    assert import_json(owner, line).created == 1
    report = import_json(owner, line | {"id": "b"}, {"id": "c", "messages": [HELLO]})
    assert (report.created, report.rejected[0].line) == (1, 1)
    assert report.rejected[0].reason.startswith("external_id: Another conversation")
    assert import_json(owner, line).already_there == 1
    assert import_json(owner, line | {"id": "c", "tags": [" "]}).rejected[0].reason == (
        "tags.0: A tag may not be empty."
    )


def test_an_answer_that_was_exported_while_it_ran_is_interrupted(owner):
    line = {"id": "a", "messages": [HELLO, RATED | {"status": "streaming", "error": None}]}
    assert import_json(owner, line).created == 1
    answer = Message.objects.get(role="assistant")
    assert (answer.status, answer.finish_reason) == ("interrupted", "interrupted")
    assert "before the answer was complete" in answer.error
    assert import_json(owner, line).already_there == 1


def test_an_imported_rating_that_was_changed_here_is_left_alone(owner):
    line = {"id": "a", "messages": [HELLO, RATED]}
    import_json(owner, line)
    answer = Message.objects.get(role="assistant")
    update_message(
        conversation_id=answer.conversation_id,
        message_id=answer.id,
        changes={"rating": 1},
        access=SCRIPT,
    )
    assert import_json(owner, line).already_there == 1
    assert Message.objects.get(role="assistant").rating == 1


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"status": "done"}, "status"),
        ({"rating": 2}, "rating"),
        ({"latency_ms": -1}, "latency_ms"),
        ({"model": "x" * 256}, "model"),
        ({"error": "\x00"}, "error"),
        ({"sources": [float("nan")]}, "sources.0"),
    ],
)
def test_a_value_that_no_row_may_have_is_named(owner, changed, field):
    report = import_json(owner, {"messages": [RATED | changed]})
    assert report.rejected[0].reason.startswith(f"messages.0.{field}: ")
    assert not Conversation.objects.exists()
