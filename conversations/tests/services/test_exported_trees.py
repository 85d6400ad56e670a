"""Branches in exports and imports: a tree is the same after both; a line has no trace of any."""

import io
import json
from datetime import UTC, datetime
from itertools import count
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conversations import services
from conversations.formats import READERS, MessageDraft, Rejected
from conversations.models import Branch, Conversation, Message
from conversations.models.branch_path import number_of
from conversations.selectors.branches import (
    BEGINNING,
    children_of,
    count_on,
    path_of,
    places_on,
)
from conversations.selectors.whole_trees import Parents
from conversations.services import SCRIPT, append_drafts, delete_message, export_conversations
from conversations.services.branches import activate_branch, delete_branch
from conversations.services.errors import InvalidValue, ServiceError
from conversations.services.import_additions import STORED_DIFFERS
from conversations.services.imports import import_conversations
from conversations.tests.factories import make_conversation, make_user

pytestmark = pytest.mark.django_db

NUMBERS = count()
AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def export(chat, file_format="jsonl", **options):
    rows = Conversation.objects.filter(pk=chat.pk)
    pieces = export_conversations(
        conversations=rows, file_format=file_format, access=SCRIPT, **options
    )
    return "".join(pieces)


def import_text(text, owner, file_format="jsonl"):
    chats = READERS[file_format](io.BytesIO(text.encode()))
    return import_conversations(chats=chats, owner_id=owner.pk, source=f"import:{file_format}")


def imported(text):
    """The conversation in the file, as a new user's."""
    owner = make_user(f"reader{next(NUMBERS)}")
    report = import_text(text, owner)
    assert (report.created, report.rejected) == (1, [])
    again = import_text(text, owner)
    assert (again.created, again.already_there, again.rejected) == (0, 1, [])
    return Conversation.objects.get(user=owner)


def append(chat, content="x", parent=None, **options):
    rows, _ = append_drafts(
        conversation_id=chat.pk,
        drafts=[MessageDraft(role="user", content=content, created_at=AT)],
        parents=[parent],
        access=SCRIPT,
        **options,
    )
    return rows[0]["id"]


def normalised(text):
    """A line of an export without what an import makes anew: ids, sequences, and the owner."""
    line = json.loads(text)
    places = {message["id"]: at for at, message in enumerate(line["messages"])}
    for message in line["messages"]:
        message |= {"id": places[message["id"]], "sequence": None}
        if "parent_id" in message:
            message["parent_id"] = places.get(message["parent_id"])
    return line | {"id": None, "owner": None, "source": None}


def contents(chat):
    return dict(chat.messages.values_list("id", "content"))


def tree_of(chat):
    """(content, content of the parent, number of the branch) of each message, in order."""
    text = contents(chat)
    rows = list(chat.messages.in_order().values("id", "branch", "sequence"))
    parents = Parents(chat.user_id, chat.pk).of(rows)
    return [
        (text[row["id"]], text.get(parents[row["id"]]), number_of(row["branch"])) for row in rows
    ]


def siblings_of(chat):
    text = contents(chat)
    places = [BEGINNING, *chat.messages.in_order().values_list("branch", "sequence")]
    found = children_of(chat.user_id, chat.pk, places)
    return [[text[id_] for id_ in found.get(place, [])] for place in places]


def shown(chat):
    """The contents of the active path."""
    path = path_of(chat.user_id, chat.pk, chat.active_branch)
    places = places_on(Message.objects.of(chat.user_id, chat.pk), path, limit=1_000)
    by_sequence = dict(chat.messages.values_list("sequence", "content"))
    return [by_sequence[sequence] for _, sequence in places]


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "append", "begin", "delete", "cut", "activate"]),
        st.integers(0, 30),
        st.booleans(),
    ),
    max_size=25,
)


def grow(chat, operations):
    """Messages, branches and deletions, whatever of it can be done."""
    known = []
    for number, (what, choice, flag) in enumerate(operations):
        try:
            if what in ("append", "begin"):
                parent = known[choice % len(known)] if known and choice % 3 else None
                parent = "root" if what == "begin" else parent
                known.append(append(chat, str(number), parent, activate=flag))
            elif what == "delete" and known:
                id_ = known.pop(choice % len(known))
                delete_message(conversation_id=chat.pk, message_id=id_, access=SCRIPT)
            elif what == "cut":
                delete_branch(conversation_id=chat.pk, number=choice % 6, access=SCRIPT)
                known = [id_ for id_ in known if chat.messages.filter(id=id_).exists()]
            elif what == "activate":
                activate_branch(conversation_id=chat.pk, number=choice % 6, access=SCRIPT)
        except ServiceError:  # no such branch, or the only one
            continue
    chat.refresh_from_db()


@given(operations=OPERATIONS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_tree_is_the_same_after_an_export_and_an_import(operations):
    chat = make_conversation(make_user(f"owner{next(NUMBERS)}"))
    grow(chat, operations)
    text = export(chat)
    copy = imported(text)
    assert tree_of(copy) == tree_of(chat) or is_a_line(chat)
    assert siblings_of(copy) == siblings_of(chat)
    assert normalised(export(copy)) == normalised(text)
    for branch in Branch.objects.of(copy.user_id, copy.pk):
        assert branch.length == count_on(copy.user_id, copy.pk, branch.path)
    if has_messages(chat, chat.active_branch):
        assert shown(copy) == shown(chat)


def is_a_line(chat):
    """Of one branch that is not the first, which becomes it."""
    return len({number for _, _, number in tree_of(chat)}) <= 1


def has_messages(chat, number):
    return any(each == number for _, _, each in tree_of(chat))


@pytest.fixture
def forked(alice):
    """Two questions, each answered twice; the first answer to the second one is shown."""
    chat = make_conversation(alice)
    question = append(chat, "question")
    append(chat, "answer")
    other = append(chat, "other answer", question)
    more = append(chat, "more", other)
    append(chat, "end", more)
    append(chat, "other end", more)
    activate_branch(conversation_id=chat.pk, number=1, access=SCRIPT)
    chat.refresh_from_db()
    return chat


def test_each_message_of_a_tree_says_what_it_follows(forked):
    line = json.loads(export(forked))
    assert line["active_branch"] == 1
    ids = {None: None} | {message["id"]: message["content"] for message in line["messages"]}
    assert [
        (message["content"], ids[message["parent_id"]], message["branch"])
        for message in line["messages"]
    ] == [
        ("question", None, 0),
        ("answer", "question", 0),
        ("other answer", "question", 1),
        ("more", "other answer", 1),
        ("end", "more", 1),
        ("other end", "more", 2),
    ]


def test_a_line_is_written_as_before_there_were_branches(alice):
    chat = make_conversation(alice, 2, title="T", metadata={"a": 1}, id=UUID(int=1))
    Conversation.objects.filter(pk=chat.pk).update(created_at=AT, updated_at=AT)
    Message.objects.of(alice.pk, chat.pk).update(created_at=AT)
    first, second = chat.messages.in_order()
    at = '"2026-01-02T03:04:00+00:00"'
    rest = (
        '"parts": null, "tool_calls": null, "tool_call_id": null, "name": null, "provider": "", '
        '"model": "", "sources": null, "detected_mode": null, "status": "complete", '
        '"finish_reason": null, "error": null, "prompt_tokens": null, "completion_tokens": null, '
        '"cached_tokens": null, "reasoning_tokens": null, "cost": null, "latency_ms": null, '
        '"first_token_ms": null, "rating": null, "rating_comment": null, "metadata": {}, '
        f'"extra": null, "emptied_at": null, "created_at": {at}, "reviews": []'
    )
    assert export(chat) == (
        f'{{"id": "{UUID(int=1)}", "owner": "alice", "title": "T", "model_used": "", '
        '"source": "api", "metadata": {"a": 1}, "external_id": null, "tags": [], '
        f'"pinned": false, "archived_at": null, "created_at": {at}, "updated_at": {at}, '
        f'"messages": [{{"id": "{first.id}", "sequence": 1, "role": "user", '
        f'"content": "message 1", {rest}}}, {{"id": "{second.id}", "sequence": 2, '
        f'"role": "assistant", "content": "message 2", {rest}}}]}}\n'
    )


def test_a_line_takes_the_statements_of_before(alice, statements):
    chat = make_conversation(alice, 3)
    for file_format in ("jsonl", "openai", "markdown"):
        with statements() as seen:
            export(chat, file_format, branches="all")
        # The conversations, whether any has reviews or a running answer; or their columns.
        assert len(seen) <= 4
        assert not [sql for sql in seen if "conversations_branch" in sql]


def test_a_branch_without_messages_is_left_out(alice):
    chat = make_conversation(alice)
    question = append(chat, "question")
    append(chat, "answer")
    gone = append(chat, "other answer", question)
    delete_message(conversation_id=chat.pk, message_id=gone, access=SCRIPT)
    chat.refresh_from_db()
    assert (chat.branch_count, chat.active_branch) == (2, 1)
    line = json.loads(export(chat))
    assert "active_branch" not in line
    assert not [message for message in line["messages"] if "branch" in message]


def test_where_the_active_branch_has_no_messages_the_one_it_began_on_is_shown(forked):
    for parent in (forked.messages.get(content="question").id, "root"):
        gone = append(forked, "gone", parent)
        delete_message(conversation_id=forked.pk, message_id=gone, access=SCRIPT)
    forked.refresh_from_db()
    assert (forked.branch_count, forked.active_branch) == (5, 4)
    # Nothing is before a second beginning: the newest branch.
    assert json.loads(export(forked))["active_branch"] == 2
    activate_branch(conversation_id=forked.pk, number=3, access=SCRIPT)
    forked.refresh_from_db()
    assert json.loads(export(forked))["active_branch"] == 0


def test_a_first_line_that_was_deleted_does_not_come_back(alice):
    chat = make_conversation(alice, 1)
    second = append(chat, "second beginning", "root")
    append(chat, "answer")
    append(chat, "other answer", second)
    delete_branch(conversation_id=chat.pk, number=0, access=SCRIPT)
    chat.refresh_from_db()
    copy = imported(export(chat))
    assert (copy.branch_count, copy.active_branch) == (2, 2)
    numbers = Branch.objects.of(copy.user_id, copy.pk).values_list("number", flat=True)
    assert sorted(numbers) == [1, 2]


def test_a_tree_that_has_changed_in_the_file_is_refused(forked, bob):
    line = json.loads(export(forked))
    assert import_text(json.dumps(line), bob).created == 1
    ids = [message["id"] for message in line["messages"]]

    def reason(number, **values):
        messages = [dict(message) for message in line["messages"]]
        messages[number] |= values
        report = import_text(json.dumps(line | {"messages": messages}), bob)
        assert (report.created, report.already_there) == (0, 0)
        return report.rejected[0].reason

    differs = STORED_DIFFERS
    assert reason(5, parent_id=ids[1]) == f"messages.5.parent_id: {differs}"
    assert reason(5, parent_id=None) == f"messages.5.parent_id: {differs}"
    assert reason(5, content="else") == f"messages.5.content: {differs}"
    plain = [
        {name: value for name, value in message.items() if name not in ("parent_id", "branch")}
        for message in line["messages"]
    ]
    without = {name: value for name, value in line.items() if name != "active_branch"}
    report = import_text(json.dumps(without | {"messages": plain}), bob)
    assert report.rejected[0].reason == f"messages.2.parent_id: {differs}"


def test_a_line_that_has_become_a_tree_in_the_file_is_refused(alice, bob):
    chat = make_conversation(alice, 2)
    line = json.loads(export(chat))
    import_text(json.dumps(line), bob)
    line["messages"][1]["parent_id"] = None
    report = import_text(json.dumps(line), bob)
    assert report.rejected[0].reason == f"messages.1.parent_id: {STORED_DIFFERS}"


def test_a_conversation_that_was_continued_on_a_branch_is_already_there(alice, bob):
    text = export(make_conversation(alice, 2))
    import_text(text, bob)
    copy = Conversation.objects.get(user=bob)
    append(copy, "another answer", copy.messages.in_order()[0].id)
    append(copy, "more")
    assert import_text(text, bob).already_there == 1


def test_numbers_beyond_the_largest_are_refused_and_leave_nothing(bob):
    messages = [{"role": "user", "content": "x", "id": 1, "branch": 0}]
    messages.append({"role": "user", "content": "y", "parent_id": 1, "branch": 2**15})
    report = import_text(json.dumps({"messages": messages}), bob)
    assert report.rejected == [Rejected(1, "messages: A conversation has at most 32,767 branches.")]
    assert not Conversation.objects.exists()


def test_parents_are_found_in_earlier_batches(bob):
    size = 2_500
    messages = [{"role": "user", "content": str(at), "id": at} for at in range(size)]
    forks = {1_000: 999, 1_700: 3, 2_000: 1_999, 2_001: 1_000, 2_499: 0}
    for at, parent in forks.items():
        messages[at]["parent_id"] = parent
    messages[2_100]["parent_id"] = None
    text = json.dumps({"id": "long", "messages": messages})
    assert import_text(text, bob).created == 1
    assert import_text(text, bob).already_there == 1
    chat = Conversation.objects.get()
    parents = {content: parent for content, parent, _ in tree_of(chat)}
    wanted = {str(at): str(forks.get(at, at - 1)) for at in range(size)}
    assert parents == wanted | {"0": None, "2100": None}
    assert shown(chat) == ["0", "2499"]


def test_the_active_path_is_exported_in_formats_without_branches(forked):
    line = json.loads(export(forked, "openai"))
    assert [message["content"] for message in line["messages"]] == [
        *("question", "other answer", "more", "end")
    ]
    assert line["id"] == f"{forked.pk}?branch=1"
    text = export(forked, "markdown")
    assert f"- Conversation: {forked.pk}\n- Branch: 2 of 3\n" in text
    assert "other end" not in text


def test_each_path_can_be_a_conversation(forked):
    lines = [json.loads(line) for line in export(forked, "openai", branches="all").splitlines()]
    assert {line["id"]: [message["content"] for message in line["messages"]] for line in lines} == {
        str(forked.pk): ["question", "answer"],
        f"{forked.pk}?branch=1": ["question", "other answer", "more", "end"],
        f"{forked.pk}?branch=2": ["question", "other answer", "more", "other end"],
    }
    text = export(forked, "markdown", branches="all")
    assert [text.count(f"- Branch: {number} of 3\n") for number in (1, 2, 3)] == [1, 1, 1]


def test_json_lines_have_all_branches_whatever_is_asked(forked):
    assert export(forked, branches="all") == export(forked, branches="active")


def test_paths_are_read_again_without_loss_and_once(forked, bob):
    text = export(forked, "openai", branches="all")
    assert import_text(text, bob, "openai").created == 3
    again = import_text(text + export(forked, "openai"), bob, "openai")
    assert (again.created, again.already_there, again.rejected) == (0, 4, [])
    copies = Conversation.objects.filter(user=bob)
    assert sorted("".join(export(copy, "openai") for copy in copies).splitlines()) == sorted(
        text.splitlines()
    )


def test_what_was_imported_before_there_were_branches_is_recognised(alice, bob):
    chat = make_conversation(alice, 2)
    import_text(export(chat, "openai"), bob, "openai")
    append(chat, "another answer", chat.messages.in_order()[0].id)
    chat.refresh_from_db()
    report = import_text(export(chat, "openai", branches="all"), bob, "openai")
    assert (report.created, report.already_there, report.rejected) == (1, 1, [])


def test_an_id_of_the_file_says_the_branch_too(bob):
    line = {"id": 12, "messages": [{"role": "user", "content": "x"}] * 2}
    import_text(json.dumps(line), bob, "openai")
    chat = Conversation.objects.get()
    append(chat, "y", chat.messages.in_order()[0].id)
    chat.refresh_from_db()
    lines = export(chat, "openai", branches="all").splitlines()
    assert [json.loads(text)["id"] for text in lines] == [12, "12?branch=1"]


def test_an_unknown_choice_of_branches_is_refused(alice):
    with pytest.raises(InvalidValue, match="active") as caught:
        export(make_conversation(alice), branches="some")
    assert caught.value.field == "branches"


@pytest.mark.parametrize("file_format", ["jsonl", "openai", "markdown"])
def test_a_tree_is_read_in_batches_as_it_is_written(alice, monkeypatch, statements, file_format):
    monkeypatch.setattr(services.recorded_chats, "MESSAGE_BATCH", 10)
    chat = make_conversation(alice, 200)
    ids = list(chat.messages.in_order().values_list("id", flat=True))
    for number in range(30):
        append(chat, f"branch {number}", ids[number * 5])
    activate_branch(conversation_id=chat.pk, number=0, access=SCRIPT)
    rows = Conversation.objects.filter(pk=chat.pk)
    pieces = export_conversations(conversations=rows, file_format=file_format, access=SCRIPT)
    with statements() as seen:
        beginning = "".join(next(pieces) for _ in range(8))
    assert "message 1" in beginning
    assert len([sql for sql in seen if "conversations_message" in sql]) <= 8
    assert ("branch 29" in "".join(pieces)) == (file_format == "jsonl")


def test_messages_that_are_added_during_an_export_are_not_taken_for_the_lines(alice, monkeypatch):
    monkeypatch.setattr(services.recorded_chats, "MESSAGE_BATCH", 2)
    monkeypatch.setattr(services.export_batches, "WRITTEN_AT_ONCE", 0)
    chat = make_conversation(alice, 3)
    rows = Conversation.objects.filter(pk=chat.pk)
    pieces = export_conversations(conversations=rows, file_format="jsonl", access=SCRIPT)
    text = "".join(next(pieces) for _ in range(2))
    append(chat, "another beginning", "root")
    line = json.loads(text + "".join(pieces))
    assert [message["content"] for message in line["messages"]] == [
        *("message 1", "message 2", "message 3")
    ]


def test_a_branch_that_is_deleted_during_an_export_takes_no_message_along(forked, monkeypatch):
    monkeypatch.setattr(services.recorded_chats, "MESSAGE_BATCH", 2)
    rows = Conversation.objects.filter(pk=forked.pk)
    pieces = export_conversations(conversations=rows, file_format="jsonl", access=SCRIPT)
    text = "".join(next(pieces) for _ in range(2))
    delete_branch(conversation_id=forked.pk, number=1, access=SCRIPT)
    line = json.loads(text + "".join(pieces))
    assert [message["content"] for message in line["messages"]] == ["question", "answer"]


def test_what_forked_after_a_message_deleted_during_an_export_follows_the_one_before_it(
    forked, monkeypatch
):
    monkeypatch.setattr(services.recorded_chats, "MESSAGE_BATCH", 3)
    rows = Conversation.objects.filter(pk=forked.pk)
    pieces = export_conversations(conversations=rows, file_format="jsonl", access=SCRIPT)
    text = "".join(next(pieces) for _ in range(2))
    more = forked.messages.get(content="more")
    delete_message(conversation_id=forked.pk, message_id=more.id, access=SCRIPT)
    line = json.loads(text + "".join(pieces))
    names = {message["id"]: message["content"] for message in line["messages"]}
    parents = {message["content"]: names.get(message["parent_id"]) for message in line["messages"]}
    assert parents == {
        "question": None,
        "answer": "question",
        "other answer": "question",
        "end": "other answer",
        "other end": "other answer",
    }
