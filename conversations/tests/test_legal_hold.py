"""Every way to change or delete data of a conversation, with and without a legal hold.

Without a hold each of them changes stored data, which shows that only the hold prevents it.
"""

import json
from dataclasses import replace
from functools import partial
from itertools import product

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F
from django.test import Client

from conversations.db.owners import is_distributed
from conversations.models import (
    AccessRecord,
    Conversation,
    ConversationNote,
    Message,
    Review,
)
from conversations.services import (
    SCRIPT,
    MessageDraft,
    add_note,
    append_drafts,
    review_message,
    set_legal_hold,
)
from conversations.services.errors import CANNOT_CHANGE, HOLD_CONSTRAINT, violated_constraint
from conversations.tests.factories import access_of, client_for, make_conversation, make_user

FOR_CASE = replace(SCRIPT, reason="Case 12/2026")

ROWS = """
    SELECT 'user', person::text FROM auth_user person WHERE id = %(owner)s
    UNION ALL SELECT 'conversation', chat::text
        FROM conversations_conversation chat WHERE id = %(chat)s
    UNION ALL SELECT 'message', message::text
        FROM conversations_message message WHERE conversation_id = %(chat)s
    UNION ALL SELECT 'review', review::text
        FROM conversations_review review WHERE conversation_id = %(chat)s
    UNION ALL SELECT 'note', note::text
        FROM conversations_conversationnote note WHERE conversation_id = %(chat)s
    ORDER BY 1, 2
"""


# What Citus says of a statement that it cannot plan.
UNPLANNED = "unplanned"


def rows_of(chat):
    """All rows of the conversation as text, with all columns, including tsvectors."""
    with connection.cursor() as cursor:
        cursor.execute(ROWS, {"owner": chat.user_id, "chat": chat.pk})
        return cursor.fetchall()


@pytest.fixture
def root(db):
    return make_user("root", is_staff=True, is_superuser=True)


@pytest.fixture
def chat(alice, root):
    """Three messages (rated, with tool calls, a running answer), a review and a note."""
    chat = make_conversation(alice, title="Trains", metadata={"number": 1})
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    append_drafts(
        conversation_id=chat.pk,
        drafts=[
            MessageDraft(role="user", content="To Rome?", metadata={"n": 1}),
            MessageDraft(role="assistant", content="At noon.", rating=1, rating_comment="Good"),
            MessageDraft(
                role="assistant",
                content="Let me",
                status="streaming",
                tool_calls=[call],
                metadata={"runner": "r"},
            ),
        ],
        from_client=False,
        access=SCRIPT,
    )
    asked, answer, running = Message.objects.order_by("sequence")
    reviewer = replace(access_of(root, reader=True, writer=True), reason="Quality")
    review_message(
        conversation_id=chat.pk, message_id=answer.id, score=1, comment="Right", access=reviewer
    )
    add_note(conversation_id=chat.pk, text="Look again", access=reviewer)
    chat = Conversation.objects.get(pk=chat.pk)
    chat.asked, chat.answer, chat.running = asked, answer, running
    return chat


@pytest.fixture(params=[True, False], ids=["held", "free"])
def held(request, chat):
    """Whether the conversation is on legal hold in this run."""
    if request.param:
        set_legal_hold(conversation_id=chat.pk, on_hold=True, access=FOR_CASE)
    return request.param


def check_each(chat, held, ways, *, unplanned=()):
    """Run each function in a savepoint and roll it back; each returns whether it was refused.

    Those named in `unplanned` a cluster does not run at all, held or not.
    """
    wrong = []
    for way, attempt in ways.items():
        before = rows_of(chat)
        with transaction.atomic():
            refused = attempt()
            changed = rows_of(chat) != before
            transaction.set_rollback(True)
        expected = (UNPLANNED, False) if way in unplanned else (held, not held)
        if (refused, changed) != expected:
            wrong.append((way, f"{refused=} {changed=}"))
    assert not wrong


def is_refused_by_the_database(write):
    try:
        with transaction.atomic():
            write()
    except IntegrityError as error:
        return violated_constraint(error) == HOLD_CONSTRAINT
    except DatabaseError:
        if is_distributed():
            return UNPLANNED
        raise
    return False


def run(statement, values=None):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


# SQL. `other` is a conversation without a hold, of the same owner.
C, M = "conversations_conversation", "conversations_message"
R, N = "conversations_review", "conversations_conversationnote"
STATEMENTS = {
    "a title": f"UPDATE {C} SET title = 'Planes' WHERE id = %(chat)s",
    "everybody's metadata": f"UPDATE {C} SET metadata = '{{}}'",
    "one number of the metadata": f"""UPDATE {C} SET metadata = '{{"number": 1.0}}'""",
    "the model": f"UPDATE {C} SET model_used = 'm' WHERE id = %(chat)s",
    "pinned": f"UPDATE {C} SET pinned = true WHERE id = %(chat)s",
    "archived": f"UPDATE {C} SET archived_at = now() WHERE id = %(chat)s",
    "the source": f"UPDATE {C} SET source = 'x' WHERE id = %(chat)s",
    "when it began": f"UPDATE {C} SET created_at = created_at - interval '1 day'",
    "the last activity": f"UPDATE {C} SET updated_at = now() WHERE id = %(chat)s",
    "an activity in the past": f"""UPDATE {C} SET last_sequence = last_sequence + 1,
        message_count = message_count + 1, updated_at = updated_at - interval '1 day'""",
    "a title beside an append": f"""UPDATE {C} SET last_sequence = last_sequence + 1,
        message_count = message_count + 1, title = 'Planes' WHERE id = %(chat)s""",
    "the count alone": f"UPDATE {C} SET message_count = 1 WHERE id = %(chat)s",
    "the sequence alone": f"UPDATE {C} SET last_sequence = 99 WHERE id = %(chat)s",
    "counters going down": f"""UPDATE {C} SET last_sequence = last_sequence - 1,
        message_count = message_count - 1 WHERE id = %(chat)s""",
    "its id": f"UPDATE {C} SET id = gen_random_uuid() WHERE id = %(chat)s",
    "its search vector": f"UPDATE {C} SET search = NULL WHERE id = %(chat)s",
    "the conversation": f"DELETE FROM {C} WHERE id = %(chat)s",
    "all conversations": f"DELETE FROM {C}",
    "the user": "DELETE FROM auth_user WHERE id = %(owner)s",
    "an upsert": f"""INSERT INTO {C} SELECT * FROM {C} WHERE id = %(chat)s
        ON CONFLICT (id) DO UPDATE SET title = 'Planes'""",
    "a merge": f"""MERGE INTO {C} stored USING (SELECT 'Planes' AS title) given
        ON stored.id = %(chat)s WHEN MATCHED THEN UPDATE SET title = given.title""",
    "a deletion in a common table expression": f"""WITH gone AS (DELETE FROM {C} RETURNING id)
        SELECT count(*) FROM gone""",
    "a text": f"UPDATE {M} SET content = 'To Paris?' WHERE id = %(asked)s",
    "a rating": f"UPDATE {M} SET rating = -1 WHERE id = %(answer)s",
    "a comment": f"UPDATE {M} SET rating_comment = NULL WHERE id = %(answer)s",
    "metadata of a message": f"UPDATE {M} SET metadata = '{{}}' WHERE id = %(asked)s",
    "a role": f"UPDATE {M} SET role = 'system' WHERE id = %(asked)s",
    "an order": f"UPDATE {M} SET sequence = 7 WHERE id = %(asked)s",
    "a time": f"UPDATE {M} SET created_at = now() WHERE id = %(asked)s",
    "a message's id": f"UPDATE {M} SET id = gen_random_uuid() WHERE id = %(asked)s",
    "what search finds": f"UPDATE {M} SET search = NULL WHERE id = %(asked)s",
    "a complete message made to run": f"UPDATE {M} SET error = 'x' WHERE id = %(answer)s",
    "a message moved out": f"""UPDATE {M} SET conversation_id = %(other)s, sequence = 9
        WHERE id = %(asked)s""",
    "a message moved in": f"""UPDATE {M} SET conversation_id = %(chat)s, sequence = 9
        WHERE conversation_id = %(other)s""",
    "a running answer moved out": f"""UPDATE {M} SET conversation_id = %(other)s, sequence = 9
        WHERE id = %(running)s""",
    "what a running answer has said": f"UPDATE {M} SET content = 'No' WHERE id = %(running)s",
    "the tools that it called": f"UPDATE {M} SET tool_calls = NULL WHERE id = %(running)s",
    "its place": f"UPDATE {M} SET sequence = 8 WHERE id = %(running)s",
    "its role": f"UPDATE {M} SET role = 'tool' WHERE id = %(running)s",
    "its rating": f"UPDATE {M} SET rating = 1 WHERE id = %(running)s",
    "its metadata": f"""UPDATE {M} SET metadata = '{{"x": 1}}' WHERE id = %(running)s""",
    "a message": f"DELETE FROM {M} WHERE id = %(asked)s",
    "a running answer": f"DELETE FROM {M} WHERE id = %(running)s",
    "a message past a look-alike table": f"""
        CREATE TEMPORARY TABLE {C} (id uuid, legal_hold boolean) ON COMMIT DROP;
        SET LOCAL search_path = pg_temp, public;
        DELETE FROM public.{M} WHERE id = %(asked)s""",
    "a review": f"UPDATE {R} SET score = -1",
    "a review's text": f"UPDATE {R} SET comment = '' WHERE conversation_id = %(chat)s",
    "a review taken away": f"DELETE FROM {R}",
    "a review more": f"""INSERT INTO {R} SELECT gen_random_uuid(), %(running)s, reviewer_id,
        reviewer_name, score, labels, comment, created_at, updated_at, conversation_id, user_id
        FROM {R}""",
    "a note": f"UPDATE {N} SET text = 'x'",
    "a note taken away": f"DELETE FROM {N}",
    **{
        f"TRUNCATE {tables}": f"SET CONSTRAINTS ALL IMMEDIATE; TRUNCATE {tables}"
        for tables in (f"{C} CASCADE", f"{M} CASCADE", R, N, "auth_user CASCADE")
    },
}


# A volatile function or a calculation with times, MERGE, or a key of one node.
UNPLANNED_SQL = {
    "when it began",
    "an activity in the past",
    "its id",
    "an upsert",
    "a merge",
    "a message's id",
}


def test_no_statement_changes_what_is_held(chat, held, alice):
    values = {"chat": chat.pk, "other": make_conversation(alice, 1).pk}
    values |= {name: getattr(chat, name).id for name in ("asked", "answer", "running")}
    values |= {"owner": alice.pk}
    ways = {
        way: partial(is_refused_by_the_database, partial(run, statement, values))
        for way, statement in STATEMENTS.items()
        if not (is_distributed() and way.startswith("TRUNCATE"))
    }
    check_each(chat, held, ways, unplanned=UNPLANNED_SQL if is_distributed() else ())


def test_an_update_alone_does_not_release_a_hold(chat):
    set_legal_hold(conversation_id=chat.pk, on_hold=True, access=FOR_CASE)
    held = Conversation.objects.filter(pk=chat.pk)
    before = rows_of(chat)
    for changes in ({"legal_hold": False}, {"legal_hold": False, "title": "Planes"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            held.update(**changes)
    assert rows_of(chat) == before


# The ORM without the services.
def save(chat):
    chat = Conversation.objects.get(pk=chat.pk)
    chat.title = "Planes"
    chat.save()


def save_message(chat):
    asked = Message.objects.get(pk=chat.asked.pk)
    asked.content = "To Paris?"
    asked.save()


def update_in_bulk(chat):
    chat = Conversation.objects.get(pk=chat.pk)
    chat.metadata = {}
    Conversation.objects.bulk_update([chat], ["metadata"])


def create_over(chat):
    chat = Conversation.objects.get(pk=chat.pk)
    chat.title = "Planes"
    Conversation.objects.bulk_create(
        [chat], update_conflicts=True, update_fields=["title"], unique_fields=["id"]
    )


MODELS = {
    "save": save,
    "save of a message": save_message,
    "bulk_update": update_in_bulk,
    "bulk_create over it": create_over,
    "update_or_create": lambda chat: Review.objects.update_or_create(
        conversation=chat, defaults={"score": -1}
    ),
    "update": lambda chat: Conversation.objects.update(pinned=True),
    "update with F": lambda chat: Message.objects.update(sequence=F("sequence") + 10),
    "delete": lambda chat: Conversation.objects.get(pk=chat.pk).delete(),
    "delete of a message": lambda chat: Message.objects.get(pk=chat.asked.pk).delete(),
    "delete of all messages": lambda chat: Message.objects.all().delete(),
    "delete of reviews": lambda chat: Review.objects.all().delete(),
    "delete of notes": lambda chat: ConversationNote.objects.all().delete(),
    "delete of the user": lambda chat: User.objects.get(pk=chat.user_id).delete(),
    "delete of users": lambda chat: User.objects.filter(username="alice").delete(),
    "raw delete": lambda chat: Message.objects.filter(role="user")._raw_delete("default"),
}


# They write the owner anew, which Citus refuses, or name a key of one node.
UNPLANNED_MODELS = {"save", "bulk_create over it", "update_or_create"}


def test_no_model_changes_what_is_held(chat, held):
    ways = {
        way: partial(is_refused_by_the_database, partial(write, chat))
        for way, write in MODELS.items()
    }
    check_each(chat, held, ways, unplanned=UNPLANNED_MODELS if is_distributed() else ())


# The API: method, path below the conversation (`{message}` is its answer), body.
REQUESTS = [
    ("patch", "", {"title": "Planes"}),
    ("patch", "", {"metadata": {}}),
    ("patch", "", {"pinned": True}),
    ("patch", "", {"archived": True}),
    ("delete", "", None),
    ("patch", "/messages/{message}", {"rating": -1}),
    ("patch", "/messages/{message}", {"rating": None, "rating_comment": None}),
    ("patch", "/messages/{message}", {"metadata": {"k": 1}}),
    ("delete", "/messages/{message}", None),
]
CONTRACTS = ["/api/conversations", "/api/chat-history/sessions"]
CALLERS = {"owner": "not_changeable", "trusted": "not_changeable", "root": "legal_hold"}


@pytest.mark.parametrize("caller", CALLERS)
def test_no_request_changes_what_is_held(chat, held, alice, root, trusted, caller):
    client = client_for({"owner": alice, "trusted": trusted, "root": root}[caller])

    def attempt(method, where, body):
        answer = send(client, method, where, body)
        if answer.status_code != 409:
            return False
        error = answer.json()["errors"][0]
        assert error["code"] == CALLERS[caller]
        assert caller == "root" or error["detail"] == CANNOT_CHANGE
        return True

    ways = {}
    for contract, (method, path, body) in product(CONTRACTS, REQUESTS):
        where = f"{contract}/{chat.pk}{path}".format(message=chat.answer.id)
        ways[f"{method} {where} {body}"] = partial(attempt, method, where, body)
    check_each(chat, held, ways)


def send(client, method, where, body):
    return getattr(client, method)(where, body, format="json", headers={"Access-Reason": "T 1"})


def test_what_would_change_nothing_is_refused_as_well(chat, api):
    set_legal_hold(conversation_id=chat.pk, on_hold=True, access=FOR_CASE)
    where = f"/api/conversations/{chat.pk}"
    message = f"{where}/messages/{chat.answer.id}"
    for path, body in [(where, {}), (where, {"title": "Trains"}), (message, {"rating": 1})]:
        answer = send(api, "patch", path, body)
        assert answer.status_code == 409
        assert "At noon." not in answer.content.decode()


# The admin as a superuser with a reason: URL and form.
LIST = "/admin/conversations/conversation/"
ACT = LIST + "{chat}/act/"
PAGES = {
    "archive": (ACT, {"do": "archive"}),
    "review": (ACT, {"do": "review", "message": "{answer}", "score": "-1"}),
    "review another message": (ACT, {"do": "review", "message": "{asked}", "score": "1"}),
    "withdraw": (ACT, {"do": "withdraw", "message": "{answer}"}),
    "delete": (LIST + "{chat}/delete/", {"post": "yes"}),
    "archive the chosen": (LIST, {"action": "archive_selected", "_selected_action": "{chat}"}),
    "delete the chosen": (
        LIST,
        {"action": "delete_selected", "_selected_action": "{chat}", "post": "yes"},
    ),
    "erase the owner": (LIST + "owner/{owner}/", {"confirm": "alice"}),
}


def test_no_page_of_the_admin_changes_what_is_held(chat, held, root):
    browser = Client()
    browser.force_login(root)
    values = {"chat": chat.pk, "owner": "alice"}
    values |= {"answer": chat.answer.id, "asked": chat.asked.id}

    def attempt(address, form):
        sent = {name: value.format(**values) for name, value in form.items()}
        answer = browser.post(address.format(**values), {"reason": "Ticket 1", **sent})
        assert answer.status_code in (200, 302)
        return held  # the page says so in its own way

    check_each(chat, held, {way: partial(attempt, *page) for way, page in PAGES.items()})


COMMANDS = {"erase_user": ["alice"], "flush": ["--no-input", "--verbosity=0"]}


def test_no_command_changes_what_is_held(chat, held, capsys):
    def attempt(name):
        try:
            with transaction.atomic():
                call_command(name, *COMMANDS[name])
        except CommandError:
            return True
        return False

    run("SET CONSTRAINTS ALL IMMEDIATE")  # nothing is truncated while a foreign key waits
    # On a cluster there are no triggers of TRUNCATE.
    names = COMMANDS.keys() - {"flush"} if is_distributed() else COMMANDS
    check_each(chat, held, {name: partial(attempt, name) for name in names})


def test_importing_it_again_changes_nothing_of_what_is_there(alice, tmp_path, capsys):
    def write(*contents):
        said = [{"role": "user", "content": content} for content in contents]
        path.write_text(json.dumps({"id": "a", "messages": said}))
        call_command("import_conversations", path, "--format", "openai", "--user", "alice")

    path = tmp_path / "chats.jsonl"
    write("One")
    chat = Conversation.objects.get()
    set_legal_hold(conversation_id=chat.pk, on_hold=True, access=FOR_CASE)
    before = rows_of(chat)
    write("One")
    with pytest.raises(SystemExit):
        write("Two")
    assert rows_of(chat) == before
    first = Message.objects.values().get()
    write("One", "Two")  # added, as appends are
    assert Message.objects.values().get(sequence=1) == first
    assert [row.content for row in Message.objects.order_by("sequence")] == ["One", "Two"]


def test_what_the_database_refuses_is_a_conflict_over_the_api(chat, api, monkeypatch):
    """If a service does not check the hold itself."""
    set_legal_hold(conversation_id=chat.pk, on_hold=True, access=FOR_CASE)
    monkeypatch.setattr("conversations.api.conversations.update_conversation", save_anyway)
    answer = api.patch(f"/api/conversations/{chat.pk}", {"title": "Planes"}, format="json")
    assert answer.status_code == 409
    error = answer.json()["errors"][0]
    assert (error["code"], error["detail"]) == ("not_changeable", CANNOT_CHANGE)


def test_what_the_database_refuses_is_a_conflict_in_the_admin(chat, root, monkeypatch):
    set_legal_hold(conversation_id=chat.pk, on_hold=True, access=FOR_CASE)
    monkeypatch.setattr(
        "conversations.admin.conversation.deletion.delete_conversation", delete_anyway
    )
    monkeypatch.setattr(
        "conversations.admin.conversation.deletion.DeletesConversations.get_deleted_objects",
        lambda *_: ([], {}, set(), []),
    )
    browser = Client()
    browser.force_login(root)
    answer = browser.post(f"{LIST}{chat.pk}/delete/", {"post": "yes", "reason": "Ticket 1"})
    assert answer.status_code == 409
    assert CANNOT_CHANGE in answer.content.decode()
    assert Conversation.objects.filter(pk=chat.pk).exists()


def save_anyway(*, conversation_id, changes, **_):
    with transaction.atomic():
        Conversation.objects.filter(pk=conversation_id).update(**changes)


def delete_anyway(*, conversation_id, access):
    Conversation.objects.filter(pk=conversation_id).delete()


def test_other_refusals_of_the_database_stay_failures(chat, api, monkeypatch):
    def violate(**_):
        with transaction.atomic():
            AccessRecord.objects.update(reason="")

    set_legal_hold(conversation_id=chat.pk, on_hold=True, access=FOR_CASE)
    monkeypatch.setattr("conversations.api.conversations.update_conversation", violate)
    with pytest.raises(IntegrityError, match="access records"):
        api.patch(f"/api/conversations/{chat.pk}", {"title": "Planes"}, format="json")
