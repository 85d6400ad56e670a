"""A later export of a conversation that is stored: what is new is added, what is there stays."""

import io
import json
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from django.db import connection, transaction

from conversations.db.owners import give_back_conversation_id
from conversations.formats import READERS, Chat
from conversations.models import Branch, Conversation, Message
from conversations.services import SCRIPT, append_drafts
from conversations.services.branches import activate_branch, delete_branch
from conversations.services.emptying import empty_whole
from conversations.services.import_additions import REORDERED, STORED_DIFFERS
from conversations.services.imports import Importer, import_conversations
from conversations.services.legal_holds import set_legal_hold
from conversations.services.messages import delete_message, update_message
from conversations.tests.factories import DATA, make_user
from conversations.tests.services.test_exported_trees import (
    export,
    import_text,
    normalised,
    tree_of,
)

pytestmark = pytest.mark.django_db

# Of the conversation in its first export: (id, id of what it follows, role, text).
OLD = [
    ("q1", None, "user", "Tide?"),
    ("a1", "q1", "assistant", "At noon."),
    ("q2", "a1", "user", "And tomorrow?"),
    ("a2", "q2", "assistant", "At one."),
]
# Continued, with another answer to the first question, and an edited one.
NEW = [
    *OLD,
    ("b1", "q1", "assistant", "High water is at noon."),
    ("q3", "a2", "user", "Thanks"),
    ("e1", None, "user", "Tide in Brest?"),
    ("a3", "e1", "assistant", "At two."),
]


def chatgpt(messages, current=None, **values):
    mapping = {"root": {"id": "root", "message": None, "parent": None, "children": []}}
    for at, (id_, parent, role, text) in enumerate(messages):
        mapping[id_] = {
            "id": id_,
            "parent": parent or "root",
            "children": [],
            "message": {
                "id": id_,
                "author": {"role": role},
                "create_time": 1_700_000_000 + 60 * (ALL_IDS.index(id_) if id_ in ALL_IDS else at),
                "content": {"content_type": "text", "parts": [text]},
                "metadata": {},
            },
        }
        mapping[parent or "root"]["children"].append(id_)
    last = current or messages[-1][0]
    return {
        "id": "c",
        "title": "Tides",
        "create_time": 1_700_000_000,
        "update_time": 1_700_000_000 + 60 * len(messages),
        "current_node": last,
        "mapping": mapping,
    } | values


ALL_IDS = [id_ for id_, *_ in NEW]


def claude(messages, **values):
    said = [
        {
            "uuid": id_,
            "parent_message_uuid": parent or "00000000-0000-4000-8000-000000000000",
            "sender": "human" if role == "user" else "assistant",
            "text": text,
            "content": [{"type": "text", "text": text}],
            "created_at": datetime.fromtimestamp(
                1_700_000_000 + 60 * ALL_IDS.index(id_), UTC
            ).isoformat(),
        }
        for id_, parent, role, text in messages
    ]
    return {"uuid": "c", "name": "Tides", "chat_messages": said} | values


FORMATS = {"chatgpt": chatgpt, "claude": claude}


def run(owner, *values, file_format="chatgpt", dry_run=False):
    """Import an export with these conversations."""
    importer = Importer(owners=owner.pk, dry_run=dry_run)
    for chat in READERS[file_format](io.BytesIO(json.dumps(list(values)).encode())):
        importer.add(chat, source=f"import:{file_format}")
    importer.finish()
    return importer.report


def counts(report):
    return (report.created, report.extended, report.already_there, report.messages)


def stored(owner):
    return Conversation.objects.get(user=owner)


def as_file(owner):
    return normalised(export(stored(owner)))


def said(owner):
    return sorted(text for text, *_ in tree_of(stored(owner)))


@pytest.mark.parametrize("file_format", FORMATS)
def test_what_is_new_is_added_in_whichever_order_the_exports_come(alice, bob, file_format):
    old, new = FORMATS[file_format](OLD), FORMATS[file_format](NEW)
    assert counts(run(alice, old, file_format=file_format)) == (1, 0, 0, 4)
    report = run(alice, new, file_format=file_format)
    assert (counts(report), report.rejected) == ((0, 1, 0, 4), [])
    assert counts(run(alice, new, old, file_format=file_format)) == (0, 0, 2, 0)
    assert counts(run(bob, new, file_format=file_format)) == (1, 0, 0, 8)
    assert counts(run(bob, old, file_format=file_format)) == (0, 0, 1, 0)
    assert as_file(alice) == as_file(bob)
    assert [Branch.objects.filter(user=owner).count() for owner in (alice, bob)] == [3, 3]


def test_the_ids_are_those_of_an_import_of_the_newer_export_alone(alice):
    run(alice, chatgpt(OLD))
    run(alice, chatgpt(NEW))
    extended = list(stored(alice).messages.in_order().values("id", "sequence", "branch"))
    give_back_conversation_id(stored(alice).pk)
    Conversation.objects.filter(user=alice).delete()
    run(alice, chatgpt(NEW))
    assert list(stored(alice).messages.in_order().values("id", "sequence", "branch")) == extended


def test_a_conversation_that_goes_on_stays_a_line(alice):
    run(alice, chatgpt(OLD[:2]))
    assert counts(run(alice, chatgpt(OLD))) == (0, 1, 0, 2)
    assert [text for text, *_ in tree_of(stored(alice))] == [text for *_, text in OLD]
    assert not Branch.objects.exists()
    assert stored(alice).updated_at == datetime.fromtimestamp(1_700_000_240, UTC)


def test_what_two_exports_have_each_is_joined(alice, bob):
    one = [*OLD, ("q3", "a2", "user", "Thanks")]
    other = [*OLD, ("e1", None, "user", "Tide in Brest?")]
    for owner, first, second in ((alice, one, other), (bob, other, one)):
        run(owner, chatgpt(first))
        assert counts(run(owner, chatgpt(second))) == (0, 1, 0, 1)
        assert counts(run(owner, chatgpt(first), chatgpt(second))) == (0, 0, 2, 0)
    parents = [
        sorted((text, parent or "") for text, parent, _ in tree_of(stored(each)))
        for each in (alice, bob)
    ]
    assert parents[0] == parents[1]


def test_a_message_that_comes_before_others_in_the_newer_export_is_added(alice):
    thanks = ("q3", "a1", "user", "Thanks")
    run(alice, chatgpt([*OLD[:2], thanks]))
    late = chatgpt([*OLD[:3], thanks])
    assert counts(run(alice, late)) == (0, 1, 0, 1)
    assert counts(run(alice, late)) == (0, 0, 1, 0)
    assert said(alice) == sorted(["Tide?", "At noon.", "Thanks", "And tomorrow?"])


def test_what_was_written_here_since_stays_beside_it(alice):
    run(alice, chatgpt(OLD[:2]))
    append_drafts(
        conversation_id=stored(alice).pk,
        drafts=[draft("Written here")],
        access=SCRIPT,
    )
    assert counts(run(alice, chatgpt(OLD))) == (0, 1, 0, 2)
    assert counts(run(alice, chatgpt(OLD))) == (0, 0, 1, 0)
    tree = [(text, parent) for text, parent, _ in tree_of(stored(alice))]
    assert ("Written here", "At noon.") in tree
    assert ("And tomorrow?", "At noon.") in tree
    assert stored(alice).active_branch == 1


def draft(text):
    from_file = READERS["openai"](
        io.BytesIO(json.dumps({"messages": [{"role": "user", "content": text}]}).encode())
    )
    return next(from_file).messages[0]


def test_what_was_changed_here_stays(alice):
    run(alice, chatgpt(OLD))
    chat = stored(alice)
    Conversation.objects.filter(pk=chat.pk).update(title="Mine")
    first = chat.messages.in_order()[1]
    update_message(
        conversation_id=chat.pk, message_id=first.id, changes={"rating": 1}, access=SCRIPT
    )
    run(alice, chatgpt(NEW, title="Theirs"))
    assert stored(alice).title == "Mine"
    assert chat.messages.get(id=first.id).rating == 1


@pytest.mark.parametrize("index", range(4))
def test_a_deleted_message_does_not_come_back_with_what_is_new(alice, index):
    run(alice, chatgpt(OLD))
    chat = stored(alice)
    gone = chat.messages.in_order()[index]
    delete_message(conversation_id=chat.pk, message_id=gone.id, access=SCRIPT)
    assert counts(run(alice, chatgpt(OLD))) == (0, 0, 1, 0)
    assert counts(run(alice, chatgpt(NEW))) == (0, 1, 0, 4)
    assert counts(run(alice, chatgpt(NEW))) == (0, 0, 1, 0)
    assert gone.content not in said(alice)
    assert len(said(alice)) == 7
    if index == 3:
        assert ("Thanks", "And tomorrow?") in [each[:2] for each in tree_of(stored(alice))]


def test_a_deleted_branch_does_not_come_back(alice):
    run(alice, chatgpt(NEW))
    chat = stored(alice)
    activate_branch(conversation_id=chat.pk, number=0, access=SCRIPT)
    delete_branch(conversation_id=chat.pk, number=1, access=SCRIPT)
    later = [*NEW, ("z", "q3", "assistant", "Welcome")]
    assert counts(run(alice, chatgpt(NEW))) == (0, 0, 1, 0)
    assert counts(run(alice, chatgpt(later))) == (0, 1, 0, 1)
    assert "High water is at noon." not in said(alice)


def test_an_added_message_that_was_deleted_does_not_come_back(alice):
    run(alice, chatgpt(OLD))
    run(alice, chatgpt(NEW))
    chat = stored(alice)
    gone = chat.messages.get(content="Thanks")
    delete_message(conversation_id=chat.pk, message_id=gone.id, access=SCRIPT)
    assert counts(run(alice, chatgpt(NEW))) == (0, 0, 1, 0)


def test_emptied_messages_stay_empty(alice):
    run(alice, chatgpt(OLD))
    empty(stored(alice))
    assert counts(run(alice, chatgpt(OLD))) == (0, 0, 1, 0)
    assert counts(run(alice, chatgpt(NEW))) == (0, 1, 0, 4)
    assert counts(run(alice, chatgpt(NEW))) == (0, 0, 1, 0)
    assert said(alice).count("") == 4


def test_a_file_in_another_order_is_refused_where_messages_were_emptied(alice):
    run(alice, chatgpt(OLD))
    empty(stored(alice))
    times = chatgpt(NEW)
    for node in times["mapping"].values():
        if node["message"]:
            node["message"]["create_time"] = 1_800_000_000 - node["message"]["create_time"]
    times["mapping"]["e1"]["message"]["create_time"] = 1
    report = run(alice, times)
    assert [each.reason for each in report.rejected] == [f"messages: {REORDERED}"]
    assert said(alice) == [""] * 4


def empty(chat):
    with transaction.atomic():
        empty_whole(chat.user_id, [chat.pk])


def test_without_ids_of_the_application_another_text_is_refused(alice):
    lines = [{"role": "user", "content": text} for text in ("a", "b", "c")]
    old = {"id": "x", "messages": lines[:2]}
    import_text(json.dumps(old), alice, "openai")
    other = {"id": "x", "messages": [lines[0], lines[2], lines[2]]}
    report = import_text(json.dumps(other), alice, "openai")
    assert [each.reason for each in report.rejected] == [f"messages.1.content: {STORED_DIFFERS}"]
    grown = {"id": "x", "messages": [*lines, lines[0]]}
    assert counts(import_text(json.dumps(grown), alice, "openai")) == (0, 1, 0, 2)


def test_a_message_whose_text_has_changed_in_the_export_stays_as_it_was(alice):
    run(alice, chatgpt(OLD))
    changed = [*OLD[:3], ("a2", "q2", "assistant", "At one, in summer."), *NEW[4:]]
    assert counts(run(alice, chatgpt(changed))) == (0, 1, 0, 4)
    assert "At one." in said(alice)
    assert "At one, in summer." not in said(alice)


def test_a_conversation_on_hold_grows_and_is_otherwise_unchanged(alice):
    run(alice, chatgpt(OLD))
    before = stored(alice)
    reason = replace(SCRIPT, reason="Case 7")
    set_legal_hold(conversation_id=before.pk, on_hold=True, access=reason)
    assert counts(run(alice, chatgpt([*OLD, ("q3", "a2", "user", "Thanks")]))) == (0, 1, 0, 1)
    after = stored(alice)
    assert (after.message_count, after.title, after.legal_hold) == (5, before.title, True)


def test_one_file_with_both_exports_and_its_dry_run(alice):
    given = [chatgpt(OLD), chatgpt(NEW), chatgpt(OLD), chatgpt(NEW)]
    dry = run(alice, *given, dry_run=True)
    assert not Conversation.objects.exists()
    real = run(alice, *given)
    assert counts(dry) == counts(real) == (1, 1, 2, 8)


def test_a_dry_run_knows_what_is_stored_and_what_it_has_seen(alice):
    run(alice, chatgpt(OLD[:2]))
    given = [chatgpt(OLD), chatgpt(NEW), chatgpt(NEW)]
    dry = run(alice, *given, dry_run=True)
    assert Message.objects.count() == 2
    assert counts(dry) == counts(run(alice, *given)) == (0, 2, 1, 6)


def test_a_long_conversation_grows_by_more_than_a_request(alice):
    lines = [{"role": "user", "content": str(number)} for number in range(3_500)]
    for length in (1_200, 3_500):
        given = {"id": "x", "messages": lines[:length]}
        report = import_text(json.dumps(given), alice, "openai")
        assert report.rejected == []
    assert [int(text) for text, *_ in tree_of(stored(alice))] == list(range(3_500))
    assert counts(import_text(json.dumps(given), alice, "openai")) == (0, 0, 1, 0)


@pytest.mark.parametrize(
    ("file_format", "name"),
    [("claude_code", "session.claude_code.jsonl"), ("codex", "rollout.codex.jsonl")],
)
def test_a_session_that_goes_on_is_extended(alice, bob, file_format, name):
    """The lines of a file to which the program appends."""
    lines = (DATA / name).read_bytes().splitlines(keepends=True)

    def import_session(owner, end):
        chats = READERS[file_format](io.BytesIO(b"".join(lines[:end])))
        given = (chat for chat in chats if isinstance(chat, Chat))
        source = f"import:{file_format}"
        return import_conversations(chats=given, owner_id=owner.pk, source=source)

    reports = [import_session(alice, end) for end in range(1, len(lines) + 1)]
    assert [report.rejected for report in reports] == [[]] * len(lines)
    assert any(report.extended for report in reports)
    import_session(bob, len(lines))
    roles = [
        sorted(
            Message.objects.filter(user=owner, conversation__user=owner).values_list(
                "role", "conversation__title"
            )
        )
        for owner in (alice, bob)
    ]
    assert roles[0] == roles[1]


@pytest.mark.django_db(transaction=True)
def test_two_imports_of_the_same_growth_add_it_once():
    owner = make_user("ann")
    run(owner, chatgpt(OLD))
    reports = []

    def work():
        with closing(connection):
            reports.append(run(owner, chatgpt(NEW)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts(report) for report in reports) == [(0, 0, 1, 0)] * 3 + [(0, 1, 0, 4)]
    assert Message.objects.count() == 8
