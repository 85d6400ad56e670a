"""Files of many owners, and dry runs."""

from dataclasses import replace

import pytest
from django.contrib.auth.models import User

from conversations.formats import Chat, MessageDraft
from conversations.models import Conversation, Message
from conversations.services.errors import InvalidValue
from conversations.services.import_additions import STORED_DIFFERS
from conversations.services.import_owners import (
    NO_OWNER,
    NOT_A_NAME,
    NOT_FOR_STAFF,
    OwnersFrom,
    owner_to_import_for,
)
from conversations.services.imports import Importer
from conversations.services.users import find_or_create_user
from conversations.tests.factories import make_staff

pytestmark = pytest.mark.django_db


def chat(file_id="a", *contents, **values):
    drafts = tuple(MessageDraft(role="user", content=text) for text in contents or ("Hello",))
    return Chat(line=values.pop("line", 1), file_id=file_id, messages=drafts, **values)


def imported(chats, field="owner", namespace="", **options):
    importer = Importer(owners=OwnersFrom(field, namespace), **options)
    for each in chats:
        importer.add(each, source="import:test")
    importer.finish()
    return importer.report


def reasons(report):
    return [rejected.reason for rejected in report.rejected]


def owners():
    return sorted(Conversation.objects.values_list("user__username", flat=True))


def test_the_owners_of_a_file_become_users_of_the_namespace():
    report = imported([chat("1", owner="ann"), chat("2", owner="bob")], namespace="crm")
    assert report.created == 2
    assert owners() == ["crm：ann", "crm：bob"]
    made = User.objects.get(username="crm：ann")
    assert not made.has_usable_password()
    assert (made.is_staff, made.is_superuser, made.is_active) == (False, False, True)


def test_a_user_who_is_there_is_used():
    ann = find_or_create_user("ann")
    assert imported([chat(owner="ann")]).created == 1
    assert Conversation.objects.get().user == ann
    assert User.objects.count() == 1


def test_an_export_names_its_own_namespaces():
    assert imported([chat(owner="crm：ann")]).created == 1
    assert owners() == ["crm：ann"]
    assert imported([chat(owner="crm：ann")], namespace="crm").already_there == 1
    report = imported([chat("2", owner="shop：ann")], namespace="crm")
    assert (report.created, report.rejections) == (0, 1)


@pytest.mark.parametrize("path", ["customer.id", "metadata.customer.id"])
def test_a_path_into_the_metadata_names_them(path):
    given = [chat("1", metadata={"customer": {"id": 7}}), chat("2", metadata={"customer": 7})]
    given.append(chat("3", metadata={"customer": {"id": 1.5}}))
    report = imported(given, path, "crm")
    assert owners() == ["crm：7"]
    assert reasons(report) == [
        f"metadata.customer.id: {NO_OWNER}",
        f"metadata.customer.id: {NOT_A_NAME}",
    ]


def test_staff_own_nothing_that_a_file_says():
    make_staff("support")
    report = imported([chat("1", owner="support"), chat("2", owner="ann")])
    assert owners() == ["ann"]
    assert reasons(report) == [f"owner: {NOT_FOR_STAFF}"]


@pytest.mark.parametrize("name", ["", "*", " ann", "a\u200bb", "x" * 151])
def test_a_name_that_none_can_have_is_refused_and_makes_nobody(name):
    report = imported([chat(owner=name)])
    assert reasons(report)[0].startswith("owner: ")
    assert not User.objects.exists()


def test_the_same_conversation_of_two_owners_is_two():
    given = [chat("1", owner="ann"), chat("1", owner="bob")]
    assert imported(given).created == 2
    assert imported(given).already_there == 2


def test_who_owns_no_conversation_that_is_stored_is_not_made():
    assert imported([chat("1", "\x00", owner="ann")]).rejections == 1
    assert not User.objects.exists()


def test_a_batch_of_many_owners_takes_three_statements_more_than_of_one(statements):
    with statements() as seen:
        imported([chat(str(i), owner=f"user{i}") for i in range(20)])
    # Who is there, the new users, and their ids; what is stored, what was deleted; two COPYs.
    assert len(seen) == 7


FOUND = [
    chat("1", "a", "b"),
    chat("1", "a", "b", line=2),
    chat("1", "a", line=3),
    chat("1", "a", "c", line=4),
    chat("1", "a", "b", "c", line=5),
    chat("2", external_id="x", line=6),
    chat("3", external_id="x", line=7),
    chat("4", "\x00", line=8),
    chat("5", "a", "b", parents=(None, None), line=9),
    chat("5", "a", "b", parents=(None, 0), line=10),
    chat("6", line=11),
]


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_a_dry_run_tells_what_an_import_does(monkeypatch, batch):
    monkeypatch.setattr("conversations.services.imports.BATCH_CONVERSATIONS", batch)
    given = [replace(each, owner="ann") for each in FOUND]
    dry = imported(given, dry_run=True)
    assert not User.objects.exists()
    assert not Conversation.objects.exists()
    real = imported(given)
    assert counts(dry) == counts(real)
    # A dry run has no stored columns to name.
    assert [line_and_text(each) for each in dry.rejected] == [
        line_and_text(each) for each in real.rejected
    ]
    assert [each.line for each in real.rejected] == [4, 7, 8, 10]
    assert STORED_DIFFERS in real.rejected[0].reason
    assert (real.extended, real.messages) == (1, 7)
    again = imported(given, dry_run=True)
    assert (again.created, again.extended, again.already_there, again.rejections) == (0, 0, 7, 4)


def counts(report):
    return (
        *(report.read, report.created, report.extended, report.already_there),
        *(report.rejections, report.messages),
    )


def line_and_text(rejected):
    return rejected.line, rejected.reason.rpartition(": ")[2]


def test_a_dry_run_writes_nothing(alice, statements):
    with statements() as seen:
        imported([chat(owner="alice"), chat("2", owner="nobody")], dry_run=True)
    assert all(sql.startswith("SELECT") for sql in seen)


def test_a_dry_run_for_a_new_user_makes_nobody():
    one = owner_to_import_for("ann", dry_run=True)
    assert one == owner_to_import_for("ann", dry_run=True) != owner_to_import_for("b", dry_run=True)
    importer = Importer(owners=one, dry_run=True)
    importer.add(chat(), source="import:test")
    importer.finish()
    assert importer.report.created == 1
    assert not User.objects.exists()
    with pytest.raises(InvalidValue):
        owner_to_import_for("ann ", dry_run=True)


def test_rejections_come_in_the_order_of_the_file(alice):
    seen = []
    importer = Importer(owners=alice.pk, on_rejected=lambda place, each: seen.append((place, each)))
    for line, content in enumerate(["a", "\x00", "b", "\x00"], start=1):
        importer.add(chat(str(line % 2), content, line=line), source="import:test", place="f")
    importer.finish()
    assert [(place, each.line) for place, each in seen] == [("f", 2), ("f", 3), ("f", 4)]
    assert Message.objects.get().content == "a"
