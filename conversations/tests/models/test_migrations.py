"""Migration 0009 keeps tokens valid and renames users to the numbers that clients use."""

import hashlib
from dataclasses import replace
from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, migrations
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from conversations.api.authentication import caller_with_token
from conversations.models import Message
from conversations.services import add_note, review_message, set_legal_hold
from conversations.tests.factories import access_of, make_conversation, make_staff, make_user

# As django-rest-knox 5 made it.
KNOX = """
CREATE TABLE knox_authtoken (
    digest varchar(128) PRIMARY KEY, token_key varchar(25) NOT NULL,
    user_id integer NOT NULL REFERENCES auth_user DEFERRABLE INITIALLY DEFERRED,
    created timestamptz NOT NULL, expiry timestamptz
)
"""
INSERT = "INSERT INTO knox_authtoken VALUES (%s, %s, %s, now(), now() + interval '1 day')"


pytestmark = pytest.mark.one_node("migrations before 0018 are not undone on sharded tables")


@pytest.fixture
def before_identity(transactional_db):
    executor = MigrationExecutor(connection)
    executor.migrate([("conversations", "0005_sorted_lists")])
    yield
    call_command("migrate", verbosity=0)


def test_tokens_stay_valid_and_only_those_that_were_trusted_are(before_identity):
    tokens = {"ann": "a" * 64, "backend": "b" * 64, "boss": "c" * 64}
    with connection.cursor() as cursor:
        cursor.execute(KNOX)
        for name, text in tokens.items():
            staff = name == "boss"
            right = ["act_for_any_user"] if name != "ann" else []
            user = make_user(name, *right, is_staff=staff)
            digest = hashlib.sha512(text.encode()).hexdigest()
            cursor.execute(INSERT, [digest, text[:15], user.pk])
    call_command("migrate", verbosity=0)
    callers = {name: caller_with_token(text) for name, text in tokens.items()}
    assert {name: caller.user.username for name, caller in callers.items()} == dict(
        zip(tokens, tokens, strict=True)
    )
    trusted = {name: caller.trusted for name, caller in callers.items()}
    assert trusted == {"ann": False, "backend": True, "boss": False}
    assert "knox_authtoken" not in connection.introspection.table_names()
    User.objects.get(username="ann").delete()


def test_users_made_for_a_number_are_called_by_it(before_identity):
    made = User(pk=4711, username="user-4711")
    made.set_unusable_password()
    made.save()
    person = make_user("user-12", password="secret")
    make_user("user-4712")
    second = User(pk=4712, username="user-4712-4712")  # as it was called beside that one
    second.set_unusable_password()
    second.save()
    call_command("migrate", verbosity=0)
    for user, name in (
        (made, "4711"),
        (second, "4712"),
        (person, "user-12"),
    ):
        user.refresh_from_db()
        assert user.username == name


def test_a_number_that_would_mean_another_account_stops_the_migration(before_identity):
    made = User(pk=990_099, username="user-990099")
    made.set_unusable_password()
    made.save()
    account = make_user("990099")
    with pytest.raises(RuntimeError, match="'user-990099' by the number 990099"):
        call_command("migrate", verbosity=0)
    made.refresh_from_db()
    assert made.username == "user-990099"
    account.username = "ninety-nine"
    account.save()


OWNERS = """
SELECT table_name, user_id FROM (
    SELECT 'message' AS table_name, user_id, conversation_id FROM conversations_message
    UNION ALL SELECT 'note', user_id, conversation_id FROM conversations_conversationnote
    UNION ALL SELECT 'review', user_id, conversation_id FROM conversations_review
    UNION ALL SELECT 'hold', user_id, conversation_id FROM conversations_legalholdrecord
) part ORDER BY conversation_id, table_name
"""


@pytest.fixture
def before_owners(transactional_db, monkeypatch):
    """Rows of two owners, one conversation on hold, as the earlier release stored them."""
    fill = import_module("conversations.migrations.0014_fill_owners")
    monkeypatch.setattr(fill, "BATCH", 2)
    for user in (make_user("ann"), make_user("bea")):
        for _ in range(3):
            chat = make_conversation(user, messages=3)
            staff = access_of(make_staff(f"staff-{chat.pk}"), reader=True, writer=True)
            answer = Message.objects.get(conversation=chat, sequence=2)
            place = {"conversation_id": chat.pk, "access": staff}
            add_note(**place, text="Seen.")
            review_message(**place, message_id=answer.id, score=1)
    for_case = replace(access_of(make_staff(), reader=True, writer=True), reason="Case 7")
    set_legal_hold(conversation_id=chat.pk, on_hold=True, access=for_case)
    with connection.cursor() as cursor:
        cursor.execute(OWNERS)
        before = cursor.fetchall()
    call_command("migrate", "conversations", "0012", verbosity=0)
    yield before
    call_command("migrate", verbosity=0)


def test_rows_that_are_there_are_given_their_owner_in_batches(before_owners):
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute(OWNERS)
        assert cursor.fetchall() == before_owners
    assert {table for table, _ in before_owners} == {"message", "note", "review", "hold"}
    assert Message.objects.count() == 18


def test_processes_of_the_earlier_release_write_while_rows_are_filled(before_owners):
    call_command("migrate", "conversations", "0014", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO conversations_message (id, conversation_id, sequence, role, content,"
            " provider, model, status, metadata, created_at, updated_at)"
            " SELECT gen_random_uuid(), id, 9, 'user', 'x', '', '', 'complete', '{}', now(), now()"
            " FROM conversations_conversation"
        )
    call_command("migrate", verbosity=0)
    assert Message.objects.filter(sequence=9, user__username="ann").count() == 3


def test_a_process_of_the_release_before_can_still_insert():
    """A column that is added to a table later has a default of the database, or may be null."""
    loader = MigrationLoader(None)
    for (app, name), migration in loader.disk_migrations.items():
        if app != "conversations" or name < "0019":
            continue
        for operation in migration.operations:
            if isinstance(operation, migrations.AddField):
                model = apps.get_model("conversations", operation.model_name)
                field = model._meta.get_field(operation.name)
                assert field.null or field.has_db_default(), f"{name}: {operation.name}"
