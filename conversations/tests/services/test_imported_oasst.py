"""Message trees of OpenAssistant: all messages, parents, ranks and siblings are kept.

Runs on two trees of this project, and on the file in OASST_TREES if there is one: a `.trees.jsonl`
of the published data.
"""

import io
import json
import os
from pathlib import Path

import pytest

from conversations.formats import READERS
from conversations.models import Conversation, Message
from conversations.selectors.branches import BEGINNING, children_of, path_of, places_on
from conversations.services import SCRIPT, export_conversations
from conversations.services.imports import import_conversations
from conversations.tests.factories import DATA, make_user

pytestmark = pytest.mark.django_db

FILES = [DATA / "trees.oasst.jsonl"]
if given := os.environ.get("OASST_TREES"):
    FILES.append(Path(given))


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def file(request):
    return request.param


def import_file(path_or_text, owner, file_format):
    data = path_or_text.encode() if isinstance(path_or_text, str) else path_or_text.read_bytes()
    chats = READERS[file_format](io.BytesIO(data))
    return import_conversations(chats=chats, owner_id=owner.pk, source=f"import:{file_format}")


def walk(message, parent=None):
    """Each message of a tree with its parent, depth first, as the file nests them."""
    yield message, parent
    for reply in message.get("replies", []):
        yield from walk(reply, message)


def trees_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def expected(tree):
    """(what is said, id of the parent, ids of the siblings) of each message."""
    found = []
    for message, parent in walk(tree["prompt"]):
        siblings = parent["replies"] if parent else [message]
        fields = {name: value for name, value in message.items() if name != "replies"}
        fields.pop("parent_id", None)
        if not fields.get("model_name"):
            fields.pop("model_name", None)
        ids = [each["message_id"] for each in siblings]
        found.append((fields, parent and parent["message_id"], ids))
    return found


def best_path(tree):
    """The ids on the path of the lowest ranks."""
    message, ids = tree["prompt"], []
    while message:
        ids.append(message["message_id"])
        replies = sorted(
            message.get("replies", []),
            key=lambda reply: (reply.get("rank") is None, reply.get("rank") or 0),
        )
        message = replies[0] if replies else None
    return ids


def as_said(role, content, model, created_at, extra):
    """A message as the file has it."""
    fields = extra | {"role": {"user": "prompter"}.get(role, role), "text": content}
    if model:
        fields["model_name"] = model
    if created_at is not None and "created_date" in fields:
        fields["created_date"] = created_at
    return fields


def stored(chat):
    """The same of the stored messages, and the ids on the active path."""
    rows = {row.sequence: row for row in chat.messages.in_order()}
    names = {row.id: row.extra["message_id"] for row in rows.values()}
    found, places = {}, [(row.branch, row.sequence) for row in rows.values()]
    children = children_of(chat.user_id, chat.pk, [BEGINNING, *places])
    for place, ids in children.items():
        parent = rows[place[1]] if place[1] else None
        for id_ in ids:
            found[names[id_]] = (parent and names[parent.id], [names[each] for each in ids])
    path = path_of(chat.user_id, chat.pk, chat.active_branch)
    on_path = places_on(Message.objects.of(chat.user_id, chat.pk), path, limit=10_000)
    return (
        [
            (
                as_said(row.role, row.content, row.model, None, row.extra),
                *found[row.extra["message_id"]],
            )
            for row in rows.values()
        ],
        [names[rows[sequence].id] for _, sequence in on_path],
    )


def exported(line):
    """The same of the lines of an export, read with no code of this project."""
    names = {message["id"]: message["extra"]["message_id"] for message in line["messages"]}
    children, last = {}, None
    for message in line["messages"]:
        parent = message.get("parent_id", last)
        children.setdefault(parent, []).append(names[message["id"]])
        last = message["id"]
    found, last = [], None
    for message in line["messages"]:
        parent = message.get("parent_id", last)
        said = [message[name] for name in ("role", "content", "model")]
        said = as_said(*said, None, message["extra"])
        found.append((said, names.get(parent), children[parent]))
        last = message["id"]
    return found


def without_times(tree):
    """`created_date` has a column: it is compared apart."""
    return [
        ({name: value for name, value in fields.items() if name != "created_date"}, *rest)
        for fields, *rest in expected(tree)
    ]


def chats_by_tree(owner):
    chats = Conversation.objects.filter(user=owner)
    return {chat.metadata["message_tree_id"]: chat for chat in chats}


def check(owner, trees):
    chats = chats_by_tree(owner)
    assert len(chats) == len(trees)
    for tree in trees:
        chat = chats[tree["message_tree_id"]]
        messages, active = stored(chat)
        assert messages == without_times(tree)
        assert active == best_path(tree)
        assert chat.metadata["tree_state"] == tree["tree_state"]


def test_trees_are_the_same_after_an_import_an_export_and_another_import(file):
    ann, bob, trees = make_user("ann"), make_user("bob"), trees_of(file)
    report = import_file(file, ann, "oasst")
    count = sum(1 for tree in trees for _ in walk(tree["prompt"]))
    assert (report.created, report.messages, report.rejected) == (len(trees), count, [])
    check(ann, trees)

    rows = Conversation.objects.filter(user=ann)
    text = "".join(export_conversations(conversations=rows, file_format="jsonl", access=SCRIPT))
    lines = {
        line["metadata"]["message_tree_id"]: line for line in map(json.loads, text.splitlines())
    }
    for tree in trees:
        assert exported(lines[tree["message_tree_id"]]) == without_times(tree)

    assert import_file(text, bob, "json").created == len(trees)
    check(bob, trees)


def test_a_second_import_adds_nothing(file):
    ann = make_user("ann")
    import_file(file, ann, "oasst")
    rows = list(Conversation.objects.order_by("pk").values())
    report = import_file(file, ann, "oasst")
    assert (report.created, report.already_there) == (0, len(rows))
    assert list(Conversation.objects.order_by("pk").values()) == rows


def test_times_are_kept():
    ann = make_user("ann")
    import_file(FILES[0], ann, "oasst")
    times = {
        message["message_id"]: message["created_date"]
        for tree in trees_of(FILES[0])
        for message, _ in walk(tree["prompt"])
        if "created_date" in message
    }
    assert len(times) == 3
    for chat in chats_by_tree(ann).values():
        for row in chat.messages.all():
            if (id_ := row.extra["message_id"]) in times:
                assert row.created_at.isoformat() == times[id_]
