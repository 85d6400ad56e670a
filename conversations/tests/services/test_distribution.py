"""What holds on one server and, with real commits, on every node of a cluster."""

import io
from dataclasses import replace

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, migrations, models
from django.db.migrations.executor import MigrationExecutor
from django.db.models.signals import pre_migrate

from conversations.db.owners import OWNERS, is_distributed
from conversations.db.sharding import OwnTable
from conversations.management.commands.distribute import DONE_ALREADY
from conversations.models import Conversation, Message
from conversations.models.ids import new_id
from conversations.services import (
    SCRIPT,
    add_message,
    add_note,
    create_token,
    delete_conversation,
    delete_message,
    distribution,
    erase_user,
    review_message,
    set_legal_hold,
)
from conversations.tests.cluster import cursors_of_every_node
from conversations.tests.factories import access_of, make_conversation, make_staff, make_user

pytestmark = pytest.mark.django_db(transaction=True)

WITH_CONVERSATIONS = {
    *("conversations_conversation", "conversations_message", "conversations_conversationnote"),
    *("conversations_review", "conversations_tombstone", "conversations_legalholdrecord"),
}
PENDING = "conversations_pendingchange"
FOR_CASE = replace(SCRIPT, reason="Case 7")
# Shards among them.
TABLES = """
    SELECT pg_class.oid::regclass::text FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


@pytest.fixture
def person():
    """With a row in every table that can have one."""
    user, staff = make_user("quokka"), access_of(make_staff(), reader=True, writer=True)
    chat = make_conversation(user, messages=4, title="quokka")
    place = {"conversation_id": chat.pk}
    said = add_message(**place, role="user", content="quokka", access=access_of(user))
    add_note(**place, text="quokka", access=staff)
    review_message(**place, message_id=said.id, score=1, comment="quokka", access=staff)
    gone = add_message(**place, role="user", content="quokka", access=access_of(user))
    delete_message(**place, message_id=gone.id, access=access_of(user))
    delete_conversation(conversation_id=make_conversation(user).pk, access=access_of(user))
    for on_hold in (True, False):
        set_legal_hold(**place, on_hold=on_hold, access=FOR_CASE)
    create_token(user=user, access=SCRIPT)
    return user, chat


def tables_with(text):
    """Tables of every node with a row that has this text. Not the audit log and the feed of
    changes, which say by ids what was deleted."""
    found = set()
    for cursor in cursors_of_every_node():
        cursor.execute(TABLES)
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT FROM {table} part WHERE part::text ~ %s LIMIT 1", [str(text)])
            if cursor.fetchone() is not None:
                found.add(table.rstrip("_0123456789"))
    return found - {"conversations_accessrecord", "conversations_change", PENDING}


def test_an_erasure_leaves_nothing_on_any_node(person):
    user, chat = person
    other = make_conversation(make_user("numbat"), messages=2, title="numbat")
    owned = {model._meta.db_table for model in distribution.BY_OWNER}
    assert tables_with(chat.pk) >= WITH_CONVERSATIONS
    assert tables_with("quokka") > {"auth_user", "conversations_message"}
    erase_user(user_id=user.pk, access=SCRIPT)
    assert tables_with(f"quokka|{chat.pk}") == set()
    for table in {*owned, OWNERS, "conversations_apitoken"} - {PENDING, "conversations_change"}:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table} WHERE user_id = %s", [user.pk])
            assert cursor.fetchone() == (0,), table
    assert Message.objects.filter(conversation_id=other.pk).count() == 2


def test_one_hold_makes_a_raw_deletion_of_the_user_fail_whole(person):
    user, chat = person
    held = make_conversation(user, messages=2)
    set_legal_hold(conversation_id=held.pk, on_hold=True, access=FOR_CASE)
    before = dict(counts())
    with connection.cursor() as cursor, pytest.raises(IntegrityError, match="legal hold"):
        cursor.execute("DELETE FROM auth_user WHERE id = %s", [user.pk])
    assert dict(counts()) == before
    assert tables_with(chat.pk) >= {"conversations_conversation", "conversations_message"}


def counts():
    with connection.cursor() as cursor:
        for table in (*(model._meta.db_table for model in distribution.BY_OWNER), "auth_user"):
            cursor.execute(f"SELECT count(*) FROM {table}")
            yield table, cursor.fetchone()[0]


class Later(migrations.Migration):
    """What a later release may bring: a column, an index, two tables of owners, a trigger."""

    operations = [
        migrations.AddField("message", "mood", models.CharField(max_length=9, db_default="calm")),
        migrations.AddField("message", "stars", models.PositiveSmallIntegerField(null=True)),
        migrations.AddIndex("message", models.Index(fields=["user", "mood"], name="mood_idx")),
        migrations.CreateModel(
            "Keepsake",
            [
                ("pk", models.CompositePrimaryKey("user_id", "conversation_id", "id")),
                ("id", models.UUIDField(default=new_id)),
                ("user_id", models.IntegerField()),
                ("conversation_id", models.UUIDField()),
                ("words", models.TextField()),
            ],
        ),
        OwnTable("Keepsake"),
        migrations.CreateModel(
            "Tally",
            [
                ("pk", models.CompositePrimaryKey("user_id", "day")),
                ("user_id", models.IntegerField()),
                ("day", models.DateField()),
            ],
        ),
        OwnTable("Tally", parent="user"),
        migrations.RunSQL(
            "CREATE FUNCTION conversations_shout() RETURNS trigger LANGUAGE plpgsql AS $$"
            " BEGIN NEW.words := upper(NEW.words); RETURN NEW; END $$;"
            "CREATE TRIGGER keepsake_shout BEFORE INSERT ON conversations_keepsake"
            " FOR EACH ROW EXECUTE FUNCTION conversations_shout();",
            "DROP FUNCTION conversations_shout() CASCADE",
        ),
    ]


@pytest.fixture
def later():
    """The models after that migration, run as `manage.py migrate` does."""
    pre_migrate.send(apps.get_app_config("conversations"))
    loader = MigrationExecutor(connection).loader
    before = loader.project_state(loader.graph.leaf_nodes())
    migration = Later("9999_later", "conversations")
    with connection.schema_editor(atomic=True) as editor:
        after = migration.apply(before.clone(), editor)
    yield after.apps
    with connection.schema_editor(atomic=True) as editor:
        migration.unapply(before, editor)
    connection.close()


def test_a_later_migration_brings_a_column_an_index_and_tables_of_owners(later):
    keepsakes = later.get_model("conversations", "Keepsake").objects
    tallies = later.get_model("conversations", "Tally").objects
    user = make_user("quokka")
    chats = [make_conversation(user, messages=1) for _ in range(2)]
    for chat in chats:
        keepsakes.create(user_id=user.pk, conversation_id=chat.pk, words="hello")
    tallies.create(user_id=user.pk, day="2026-01-01")
    messages = later.get_model("conversations", "Message").objects
    assert set(messages.filter(user_id=user.pk).values_list("mood", flat=True)) == {"calm"}
    assert {kept.words for kept in keepsakes.filter(user_id=user.pk)} == {"HELLO"}
    with pytest.raises(IntegrityError, match="keepsake_conversation_fk"):
        keepsakes.create(user_id=make_user("numbat").pk, conversation_id=chats[0].pk, words="x")
    delete_conversation(conversation_id=chats[0].pk, access=SCRIPT)
    assert keepsakes.filter(user_id=user.pk).count() == 1
    erase_user(user_id=user.pk, access=SCRIPT)
    assert tables_with(chats[1].pk) == set()
    assert (keepsakes.count(), tallies.count()) == (0, 0)
    if is_distributed():
        assert places("conversations_keepsake", "conversations_tally") == places(
            "conversations_message"
        )


def places(*tables):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT distribution_column, colocation_id FROM citus_tables"
            " WHERE table_name = ANY(%s::regclass[])",
            [list(tables)],
        )
        return cursor.fetchall()


@pytest.mark.cluster
def test_a_table_that_no_migration_sharded_is_taken_along_by_the_next_distribution(monkeypatch):
    loader = MigrationExecutor(connection).loader
    state = loader.project_state(loader.graph.leaf_nodes())
    created = Later.operations[3]
    with connection.schema_editor() as editor:
        after = state.clone()
        created.state_forwards("conversations", after)
        created.database_forwards("conversations", editor, state, after)
    model = after.apps.get_model("conversations", "Keepsake")
    model.objects.create(user_id=7, conversation_id=new_id(), words="hello")
    monkeypatch.setattr(distribution, "BY_OWNER", (*distribution.BY_OWNER, model))
    try:
        steps = [step.text for step in distribution.distribute()]
        assert "Shard conversations_keepsake by owner" in steps
        assert "Remove the local copies" in steps
        assert distribution.plan_distribution() == []
        assert places("conversations_keepsake") == places("conversations_message")
        assert model.objects.count() == 1
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(model)


def printed(*arguments):
    out = io.StringIO()
    call_command("distribute", *arguments, stdout=out)
    return out.getvalue().strip()


@pytest.mark.cluster
def test_a_distribution_that_is_done_has_nothing_to_do():
    assert printed("--dry-run") == printed() == DONE_ALREADY


@pytest.mark.one_node("this is a cluster")
def test_a_server_without_citus_is_not_distributed():
    for arguments in ((), ("--dry-run",)):
        with pytest.raises(CommandError) as refused:
            printed(*arguments)
        assert str(refused.value) == distribution.NO_CITUS
    assert not is_distributed()
    assert not Conversation.objects.exists()
