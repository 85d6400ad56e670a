"""Migration 0009 keeps tokens valid and renames users to the numbers that clients use."""

import hashlib

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from conversations.api.authentication import caller_with_token
from conversations.tests.factories import make_user

# As django-rest-knox 5 made it.
KNOX = """
CREATE TABLE knox_authtoken (
    digest varchar(128) PRIMARY KEY, token_key varchar(25) NOT NULL,
    user_id integer NOT NULL REFERENCES auth_user DEFERRABLE INITIALLY DEFERRED,
    created timestamptz NOT NULL, expiry timestamptz
)
"""
INSERT = "INSERT INTO knox_authtoken VALUES (%s, %s, %s, now(), now() + interval '1 day')"


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
    made = User(pk=99, username="user-99")
    made.set_unusable_password()
    made.save()
    account = make_user("99")
    with pytest.raises(RuntimeError, match="'user-99' by the number 99"):
        call_command("migrate", verbosity=0)
    made.refresh_from_db()
    assert made.username == "user-99"
    account.username = "ninety-nine"
    account.save()
