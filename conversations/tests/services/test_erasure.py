"""An erasure leaves nothing of a person in any table, says what remains and why, and proves it.

The tests read the rows of all tables as text, without the code that is tested.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from axes.models import AccessAttempt
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client

from conversations.formats import MessageDraft
from conversations.models import (
    AccessAction,
    AccessContext,
    AccessRecord,
    Conversation,
    Message,
    SavedView,
    Tombstone,
    UnstoredTurn,
)
from conversations.selectors.traces import search_everywhere, traces_of
from conversations.services import (
    SCRIPT,
    Conflict,
    OnLegalHold,
    add_message,
    add_note,
    append_drafts,
    delete_message,
    erase_user,
    find_or_create_user,
    review_message,
    set_legal_hold,
    update_message,
)
from conversations.services import erasure as services
from conversations.services.audit import record_access
from conversations.services.changes import sequence_changes
from conversations.services.erasure_certificate import certify
from conversations.services.tickets import create_ticket
from conversations.tests.api.contract.conftest import database_url
from conversations.tests.factories import (
    access_of,
    client_for,
    make_conversation,
    make_staff,
    make_token,
    make_user,
)

pytestmark = pytest.mark.django_db(transaction=True)
NAME, SECRET, MAIL = "quokkaperson", "wombatphrase", "quokka.mail@example.org"
WORDS = "my wombatphrase is known to nobody else"
TABLES = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
"""


def rows_with(*texts):
    """Table, and row as text, of all rows that have any of the texts in any column."""
    found = []
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT row.*::text FROM {table} AS row")
            found += [(table, row) for (row,) in cursor.fetchall() if any(t in row for t in texts)]
    return found


@pytest.fixture
def staff(db):
    return make_staff("reader")


@pytest.fixture
def person(staff):
    """With a trace in every place where a person can leave one."""
    user = make_user(
        NAME, email=MAIL, first_name="Quokka", last_name="Macropod", password="long-enough-4"
    )
    user.groups.add(Group.objects.create(name="Trainees"))
    reading = AccessContext(access_of(staff, reader=True, writer=True).caller, reason="")
    chat = make_conversation(
        user,
        title=f"{SECRET} title",
        metadata={"k": SECRET},
        external_id=f"{SECRET}-external",
        tags=[SECRET],
    )
    draft = MessageDraft(
        role="assistant",
        content=WORDS,
        parts=[{"type": "text", "text": SECRET}],
        tool_calls=[{"id": "1", "function": {"name": "f", "arguments": SECRET}}],
        sources=[{"title": SECRET}],
        extra={"x": SECRET},
        metadata={"m": SECRET},
        error=SECRET,
        name=SECRET,
        rating_comment=SECRET,
    )
    (row,), _ = append_drafts(conversation_id=chat.pk, drafts=[draft], access=SCRIPT)
    removed = add_message(conversation_id=chat.pk, role="user", content=f"{WORDS} again")
    delete_message(conversation_id=chat.pk, message_id=removed.id, access=SCRIPT)
    add_note(conversation_id=chat.pk, text=f"{SECRET} note", access=reading)
    review_message(
        conversation_id=chat.pk,
        message_id=row["id"],
        score=1,
        comment=f"{SECRET} review",
        labels=[SECRET],
        access=reading,
    )
    # What staff did with them, by name.
    for detail, owner in [
        ({"query": SECRET, "message": str(row["id"])}, user),
        ({"query": f"about {NAME.upper()} and others", "number": 4}, None),
        ({"records": f"owner={NAME}&x=1"}, None),
    ]:
        about = AccessContext(reading.caller, "192.0.2.1", f"complaint of {NAME}: {MAIL}")
        record_access(about, AccessAction.SEARCH, owner=owner, detail=detail)
    # What they did while they were staff.
    others = make_conversation(make_user("other"), 2)
    theirs = AccessContext(access_of(user, reader=True, writer=True).caller, "192.0.2.77")
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.refresh_from_db()
    theirs = AccessContext(access_of(user, reader=True, writer=True).caller, "192.0.2.77")
    add_note(conversation_id=others.pk, text="a kept note", access=theirs)
    answer = Message.objects.get(conversation=others, role="assistant")
    review_message(conversation_id=others.pk, message_id=answer.id, score=-1, access=theirs)
    User.objects.filter(pk=user.pk).update(is_staff=False)
    user.refresh_from_db()
    # What they log in with.
    token = make_token(user)
    browser = Client()
    browser.force_login(user)
    from conversations.models import ApiToken

    ApiToken.objects.filter(pk=make_token_for_other().pk).update(created_by=NAME)
    mine = ApiToken.objects.get(user=user)
    create_ticket(access=access_of(user, token_id=mine.pk), purpose="stream", message_id=None)
    AccessAttempt.objects.create(username=NAME, ip_address="192.0.2.9", failures_since_start=1)
    SavedView.objects.create(user=user, page="x", name=SECRET, query=SECRET)
    UnstoredTurn.objects.create(user=user, provider="p", model="m", status="complete")
    LogEntry.objects.create(
        user=staff,
        content_type=ContentType.objects.get_for_model(User),
        object_id=str(user.pk),
        object_repr=NAME,
        action_flag=CHANGE,
        change_message=f"{NAME} changed",
    )
    LogEntry.objects.create(user=user, object_repr="something", action_flag=CHANGE)
    sequence_changes()
    add_message(conversation_id=chat.pk, role="user", content="pending change")
    user.token = token
    user.chat, user.message = chat, row["id"]
    return user


def make_token_for_other():
    from conversations.models import ApiToken

    other = User.objects.get(username="other")
    make_token(other)
    return ApiToken.objects.get(user=other)


WHERE = {
    *("auth_user", "axes_accessattempt", "django_admin_log"),
    *("conversations_accessrecord", "conversations_apitoken", "conversations_conversation"),
    *("conversations_conversationnote", "conversations_message", "conversations_review"),
    *("conversations_savedview",),
}


def test_nothing_of_the_person_is_left_in_any_row(person):
    texts = [NAME, NAME.upper(), SECRET, MAIL, "192.0.2.77", "Macropod", person.token[:15]]
    assert {table for table, _ in rows_with(*texts)} == WHERE, "traces are planted everywhere"
    assert Tombstone.objects.exists()
    erasure = erase_user(user_id=person.pk, access=SCRIPT)
    assert rows_with(*texts) == []
    # Ids: only where they are listed as remaining.
    left = {table for table, _ in rows_with(str(person.chat.pk), str(person.message))}
    assert left == {"conversations_pendingchange", "conversations_accessrecord"}
    assert not Session.objects.exists()
    for table in ("branch", "tombstone", "unstoredturn", "conversationcount", "streamticket"):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT to_jsonb(t) FROM conversations_{table} t")
            rows = [row for (row,) in cursor.fetchall()]
        assert not [row for row in rows if f'"user_id": {person.pk},' in str(row)], table
    assert erasure.erased == {"conversations": 1, "messages": 2, "tokens": 1, "sessions": 1}
    assert erasure.replaced == {
        "login failures": 1,
        "audit log entries": 7,
        "tokens made for others": 1,
        "admin log entries": 1,
        "notes on others' conversations": 1,
        "reviews of others' conversations": 1,
    }


def test_the_audit_log_still_says_who_did_what_under_the_pseudonym(person):
    before = {record.pk: record for record in AccessRecord.objects.all()}
    pseudonym = erase_user(user_id=person.pk, access=SCRIPT).pseudonym
    for record in AccessRecord.objects.filter(pk__in=before):
        old = before[record.pk]
        for name in ("action", "conversation_id", "created_at"):
            assert getattr(record, name) == getattr(old, name)
        if old.owner_id == person.pk:
            assert (record.owner_id, record.owner_name) == (None, pseudonym)
            assert "query" not in record.detail
        if old.staff_id == person.pk:
            assert (record.staff_id, record.staff_name) == (None, pseudonym)
            assert record.address is None
        else:
            assert (record.staff_name, record.address) == (old.staff_name, old.address)
    about_others = AccessRecord.objects.get(detail__has_key="number")
    assert about_others.detail == {"query": f"about {pseudonym} and others", "number": 4}
    assert about_others.reason == f"complaint of {pseudonym}: {pseudonym}"


def erasing(account, *names, pseudonym="erased-0123456789abcdef"):
    given = {"account": account, "pseudonym": pseudonym, "names": names}
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('conversations.erasure', %s, true)", [json.dumps(given)])


@pytest.mark.parametrize("change", [{}, {"reason": "forged"}, {"owner_name": "x"}])
def test_entries_of_the_audit_log_change_in_no_other_way(person, change):
    """Not without the setting, nor for an account or a name that exists, nor by other values."""
    values = change or {"action": "read"}
    records = AccessRecord.objects.filter(owner_id=person.pk)
    refused = pytest.raises(DatabaseError, match="neither changed nor deleted")
    with refused, transaction.atomic():
        records.update(**values)
    with refused, transaction.atomic():
        erasing(person.pk, "nobody")
        records.update(id=records.values("id")[:1])
    with refused, transaction.atomic():
        erasing(10**6, NAME)
        AccessRecord.objects.filter(owner_id=None)[:1].get()
        AccessRecord.objects.filter(owner_id=None).update(action="search", **change)
    with refused, transaction.atomic():
        erasing(10**6, "nobody", pseudonym="somebody else")
        AccessRecord.objects.filter(owner_id=None).update(action="search")
    with refused, transaction.atomic():
        erasing(10**6, "nobody")
        AccessRecord.objects.filter(owner_id=None).update(**values)
    with refused, transaction.atomic():
        erasing(10**6, "nobody")
        AccessRecord.objects.filter(owner_id=None).delete()


def test_the_certificate_proves_it_without_naming_anybody(person, staff):
    erasure = erase_user(user_id=person.pk, access=SCRIPT)
    certificate = certify(erasure, access=SCRIPT)
    text = json.dumps(certificate)
    for told in (NAME, SECRET, MAIL, WORDS, "Macropod", str(person.chat.pk)):
        assert told not in text
    check = certificate["check"]
    assert check["unexpected"] == check["unread_tables"] == []
    assert check["tables"] > 20
    assert check["rows"] > 20
    assert check["looked_for"] == {"name": 3, "account id": 1, "id": 4, "token": 2, "words": 1}
    assert {hit["table"] for hit in check["remaining"]} <= {
        "conversations_change",
        "conversations_pendingchange",
        "conversations_accessrecord",
    }
    assert all(hit["reason"] for hit in check["remaining"])
    digest = certificate.pop("name_digest")
    told = hashlib.sha256(f"{digest['salt']}:{NAME}".encode()).hexdigest()
    assert digest["sha256"] == told
    record = AccessRecord.objects.get(detail__has_key="certificate")
    assert record.detail["certificate"] == json.loads(json.dumps(certificate))
    assert record.owner_name == certificate["pseudonym"]


PLANTED = {
    "text": "CREATE TABLE planted (id serial, note text); INSERT INTO planted (note) VALUES ('{}')",
    "json": 'CREATE TABLE planted (d jsonb); INSERT INTO planted VALUES (\'{{"a": ["{}"]}}\')',
    "array": "CREATE TABLE planted (d varchar[]); INSERT INTO planted VALUES (ARRAY['{}'])",
}


@pytest.fixture
def no_planted_table():
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS planted")


def plant(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize(
    "text",
    [
        "the price of it is 2.5 euros",
        "the price of it is zwölf euros",
        "said twice in a half-dark room",
    ],
)
def test_words_that_others_have_written_too_are_no_trace(text, alice, bob):
    for user in (alice, bob):
        chat = make_conversation(user, title=text)
        add_message(conversation_id=chat.pk, role="user", content=text)
    assert traces_of(alice).excerpts == []


def test_words_that_are_in_the_title_of_another_are_no_trace(alice, bob):
    chat = make_conversation(alice)
    add_message(conversation_id=chat.pk, role="user", content=WORDS)
    assert traces_of(alice).excerpts == ["my wombatphrase is known to nobody else"]
    make_conversation(bob, title=WORDS)
    assert traces_of(alice).excerpts == []


@pytest.mark.parametrize("type_", PLANTED)
@pytest.mark.parametrize("kind", ["name", "words", "id", "token"])
def test_a_trace_in_a_table_that_nobody_knows_is_found(person, no_planted_table, type_, kind):
    value = {
        "name": f"of {NAME}.",
        "words": WORDS,
        "id": str(person.chat.pk),
        "token": person.token[:15],
    }[kind]
    plant(PLANTED[type_].format(value))
    erasure = erase_user(user_id=person.pk, access=SCRIPT)
    (hit,) = certify(erasure, access=SCRIPT)["check"]["unexpected"]
    assert (hit["table"], hit["kind"], hit["rows"]) == ("planted", kind, 1)


@pytest.mark.parametrize(
    ("columns", "value", "kind"),
    [
        ("x uuid", "'{chat}'", "id"),
        ("user_id bigint", "{account}", "account id"),
        ("x tsvector", "to_tsvector('simple', '{words}')", "words"),
        ("x tsvector", "array_to_tsvector(ARRAY['owner={account}'])", "account id"),
    ],
)
def test_a_trace_of_another_type_is_found(person, no_planted_table, columns, value, kind):
    value = value.format(chat=person.chat.pk, account=person.pk, words=WORDS)
    plant(f"CREATE TABLE planted ({columns}); INSERT INTO planted VALUES ({value})")
    erasure = erase_user(user_id=person.pk, access=SCRIPT)
    (hit,) = certify(erasure, access=SCRIPT)["check"]["unexpected"]
    assert (hit["table"], hit["kind"]) == ("planted", kind)


def test_before_an_erasure_the_search_finds_the_person(person):
    found = search_everywhere(traces_of(person))
    assert {hit.table for hit in found.hits} >= WHERE | {"django_session"}


def test_a_name_that_others_wrote_is_told_apart(person):
    other = Conversation.objects.get(user__username="other")
    add_message(conversation_id=other.pk, role="user", content=f"I know {NAME} well.")
    erasure = erase_user(user_id=person.pk, access=SCRIPT)
    check = certify(erasure, access=SCRIPT)["check"]
    assert check["unexpected"] == []
    mention = next(hit for hit in check["remaining"] if hit["column"] == "content")
    assert (mention["kind"], mention["rows"]) == ("name", 1)
    assert "Others have written this" in mention["reason"]


def test_what_is_on_hold_keeps_its_author(person):
    other = Conversation.objects.get(user__username="other")
    held = AccessContext(None, reason="case")
    set_legal_hold(conversation_id=other.pk, on_hold=True, access=held)
    erasure = erase_user(user_id=person.pk, access=SCRIPT)
    assert erasure.held == 2
    check = certify(erasure, access=SCRIPT)["check"]
    assert check["unexpected"] == []
    assert "legal hold" in next(
        hit["reason"] for hit in check["remaining"] if hit["column"] == "author_name"
    )


@pytest.mark.parametrize("name", ["3", "al", "a.b", "O'Neil (x)", "ünïcode", '"q"'])
def test_odd_names(db, staff, name):
    user = make_user(name)
    make_conversation(user, 1)
    access = AccessContext(access_of(staff, reader=True).caller, reason=f"about {name}, 33 also")
    record_access(access, AccessAction.SEARCH, owner=user, detail={"first": 3, "by": name})
    record_access(access, AccessAction.SEARCH, detail={"owner": name, "other": f"x{name}x"})
    erasure = erase_user(user_id=user.pk, access=SCRIPT)
    assert certify(erasure, access=SCRIPT)["check"]["unexpected"] == []
    first, second = AccessRecord.objects.filter(action="search").order_by("created_at")
    assert first.detail == {"first": 3, "by": erasure.pseudonym}
    assert second.detail == {"owner": erasure.pseudonym, "other": f"x{name}x"}


def test_a_user_of_a_namespace(db, staff):
    user = find_or_create_user("quokka", namespace="crm")
    other = find_or_create_user("quokka")
    access = AccessContext(access_of(staff, reader=True).caller, reason=f"of {user.username}")
    record_access(access, AccessAction.SEARCH, owner=user)
    record_access(access, AccessAction.SEARCH, owner=other, detail={"owner": "quokka"})
    erasure = erase_user(user_id=user.pk, access=SCRIPT)
    found = AccessRecord.objects.filter(action="search").order_by("created_at")
    assert found[0].reason == f"of {erasure.pseudonym}"
    assert (found[1].owner_name, found[1].detail) == ("quokka", {"owner": "quokka"})
    assert User.objects.filter(pk=other.pk).exists()


# Of much data.


@pytest.fixture
def much(monkeypatch):
    monkeypatch.setattr(services, "AT_ONCE", 3)


def test_much_is_erased_in_steps(person, much):
    for _ in range(5):
        make_conversation(person, 3)
    erasure = erase_user(user_id=person.pk, access=SCRIPT)
    assert erasure.erased == {"conversations": 6, "messages": 17, "tokens": 1, "sessions": 1}
    steps = AccessRecord.objects.filter(detail__has_key="erasing")
    assert steps.exists()
    assert {(step.owner_name, step.conversation_id) for step in steps} == {
        (erasure.pseudonym, None)
    }
    assert certify(erasure, access=SCRIPT)["check"]["unexpected"] == []


def test_an_account_of_which_much_is_erased_is_closed_first(alice, much, monkeypatch):
    make_conversation(alice, 5)
    api = client_for(alice)
    assert api.get("/api/me").status_code == 200
    seen = []

    def look(self):
        seen.append(api.get("/api/me").status_code)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(services.Removal, "run", look)
        with pytest.raises(KeyboardInterrupt):
            erase_user(user_id=alice.pk, access=SCRIPT)
    assert seen == [401]
    assert not User.objects.get(pk=alice.pk).is_active
    assert erase_user(user_id=alice.pk, access=SCRIPT).erased["messages"] == 5


def test_a_hold_that_is_placed_meanwhile_keeps_the_rest(alice, much, monkeypatch):
    kept = make_conversation(alice, 3)
    make_conversation(alice, 3)
    run = services.Removal.run

    def then_held(self):
        access = AccessContext(None, reason="case")
        set_legal_hold(conversation_id=kept.pk, on_hold=True, access=access)
        return run(self)

    monkeypatch.setattr(services.Removal, "run", then_held)
    with pytest.raises(OnLegalHold, match="Not everything was erased: 1 of"):
        erase_user(user_id=alice.pk, access=SCRIPT)
    assert list(Conversation.objects.all()) == [kept]


def test_what_is_written_since_the_export_is_not_erased(alice):
    chat = make_conversation(alice, 1)

    def export():
        add_message(conversation_id=chat.pk, role="user", content="late")

    with pytest.raises(Conflict, match="written to since the export"):
        erase_user(user_id=alice.pk, access=SCRIPT, export=export)
    assert Message.objects.count() == 2


# The command.


def erase(*arguments):
    call_command("erase_user", *arguments)


def test_the_command_exports_erases_and_certifies(person, tmp_path, capsys):
    export, certificate = tmp_path / "export.jsonl", tmp_path / "certificate.json"
    files = ["--export-to", str(export), "--certificate", str(certificate)]
    erase(NAME, *files, "--json", "--reason", f"request of {NAME}")
    out, err = capsys.readouterr()
    (line,) = export.read_text().splitlines()
    assert json.loads(line)["messages"][0]["content"] == WORDS
    assert json.loads(out) == json.loads(certificate.read_text())
    assert json.loads(out)["erased"]["tokens"] == 1
    assert "Nothing unexpected was found." in err
    assert rows_with(NAME, SECRET, MAIL) == []


def test_a_file_that_cannot_be_written_erases_nothing(alice, tmp_path):
    make_conversation(alice, 1)
    for option in ("--export-to", "--certificate"):
        with pytest.raises(CommandError) as raised:
            erase("alice", option, str(tmp_path / "no" / "such"))
        assert raised.value.returncode == 2
    alice.refresh_from_db()
    assert alice.is_active
    assert Message.objects.count() == 1


def test_the_exit_code_tells_of_a_trace(person, no_planted_table, capsys):
    plant(PLANTED["text"].format(NAME))
    with pytest.raises(CommandError) as raised:
        erase(NAME)
    assert raised.value.returncode == 1
    assert "FOUND planted.note: name in 1 rows" in capsys.readouterr().err


def test_an_emptied_message_cannot_be_changed(alice):
    chat = make_conversation(alice, 1)
    message = Message.objects.get()
    Message.objects.update(content="", emptied_at=message.created_at)
    with pytest.raises(Conflict, match="emptied"):
        update_message(
            conversation_id=chat.pk,
            message_id=message.id,
            changes={"rating": 1},
            access=access_of(alice),
        )


def test_an_erasure_that_is_killed_goes_on(alice, tmp_path):
    """A real process with SIGKILL in the middle of its steps."""
    for _ in range(40):
        make_conversation(alice, 100)
    environment = os.environ | {
        "DATABASE_URL": database_url(),
        "CHATPROJECT_DATA": str(tmp_path),
    }
    command = [sys.executable, "manage.py", "erase_user", "alice"]
    root = Path(__file__).parents[3]
    running = subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and Conversation.objects.count() == 40:
        time.sleep(0.005)
        assert running.poll() is None, running.stderr.read()
    running.send_signal(signal.SIGKILL)
    running.communicate()
    alice.refresh_from_db()
    assert not alice.is_active
    left = Conversation.objects.count()
    assert Message.objects.count() == left * 100
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=True)
    assert b"40 conversations and 4,000 messages" in done.stderr
    assert not User.objects.filter(username="alice").exists()
