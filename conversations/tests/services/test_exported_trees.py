"""Branches in exports and imports: a tree is the same after both; a line has no trace of any."""

import io
import json
from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conversations.formats import READERS, MessageDraft
from conversations.models import Conversation, Message
from conversations.models.branch_path import number_of
from conversations.selectors.branches import BEGINNING, children_of, path_of, places_on
from conversations.selectors.whole_trees import Parents
from conversations.services import SCRIPT, append_drafts, delete_message, export_conversations
from conversations.services.branches import activate_branch, delete_branch
from conversations.services.errors import ServiceError
from conversations.services.imports import import_conversations
from conversations.tests.factories import make_conversation, make_user

pytestmark = pytest.mark.django_db

NUMBERS = count()
AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def export(chat, file_format="json", **options):
    rows = Conversation.objects.filter(pk=chat.pk)
    pieces = export_conversations(
        conversations=rows, file_format=file_format, access=SCRIPT, **options
    )
    return "".join(pieces)


def import_text(text, owner, file_format="json"):
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
    rows = list(chat.messages.in_order().values("id", "branch"))
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
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_tree_is_the_same_after_an_export_and_an_import(operations):
    chat = make_conversation(make_user(f"owner{next(NUMBERS)}"))
    grow(chat, operations)
    text = export(chat)
    copy = imported(text)
    assert tree_of(copy) == tree_of(chat) or is_a_line(chat)
    assert siblings_of(copy) == siblings_of(chat)
    assert normalised(export(copy)) == normalised(text)
    if has_messages(chat, chat.active_branch):
        assert shown(copy) == shown(chat)


def is_a_line(chat):
    """Of one branch that is not the first, which becomes it."""
    return len({number for _, _, number in tree_of(chat)}) <= 1


def has_messages(chat, number):
    return any(each == number for _, _, each in tree_of(chat))
