"""Every table with somebody's words is keyed by its owner, as sharding by owner needs it."""

import pytest
from django.apps import apps
from django.db import DatabaseError, IntegrityError, connection, transaction

from conversations.db.owners import OWNERS, is_distributed
from conversations.models import Conversation, Message
from conversations.services import distribution
from conversations.services.conversations import insert_conversation
from conversations.tests.factories import make_conversation, make_user

pytestmark = pytest.mark.django_db

# Sharded by owner on a cluster. A new table with somebody's words or traces belongs there.
BY_OWNER = {model._meta.db_table for model in distribution.BY_OWNER}
# Of the whole installation or of staff: on the coordinator alone.
LOCAL = {
    "conversations_accessrecord",
    "conversations_importrun",
    "conversations_apitoken",
    "conversations_changefeed",
    "conversations_installationsecret",
    "conversations_retentionrule",
    "conversations_savedview",
    "conversations_streamticket",
    "conversations_writeposition",
}

UNIQUE_INDEXES = """
SELECT index.indrelid::regclass::text, index.indexrelid::regclass::text,
    (SELECT attname FROM pg_attribute
     WHERE attrelid = index.indrelid AND attnum = index.indkey[0])
FROM pg_index index WHERE index.indisunique AND index.indrelid = ANY(%s::regclass[])
"""
FOREIGN_KEYS = """
SELECT key.conrelid::regclass::text, key.confrelid::regclass::text, key.confdeltype = 'c',
    (SELECT array_agg(attname::text ORDER BY place) FROM unnest(key.conkey) WITH ORDINALITY AS
        named (number, place) JOIN pg_attribute ON attrelid = key.conrelid AND attnum = number),
    (SELECT array_agg(attname::text ORDER BY place) FROM unnest(key.confkey) WITH ORDINALITY AS
        named (number, place) JOIN pg_attribute ON attrelid = key.confrelid AND attnum = number)
FROM pg_constraint key
WHERE key.contype = 'f'
    AND (key.conrelid = ANY(%s::regclass[]) OR key.confrelid = ANY(%s::regclass[]))
"""


def rows(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def test_every_table_is_named_as_sharded_or_local():
    tables = {model._meta.db_table for model in apps.get_app_config("conversations").get_models()}
    assert tables == BY_OWNER | LOCAL


@pytest.mark.cluster
def test_every_table_of_owners_lies_together_on_the_shards():
    found = rows(
        "SELECT table_name::text, distribution_column, colocation_id FROM citus_tables"
        " WHERE citus_table_type = 'distributed'"
    )
    places = {table: place for table, *place in found if table != OWNERS}
    assert set(places) == BY_OWNER
    assert {column for column, _ in places.values()} == {"user_id"}
    assert len({colocation for _, colocation in places.values()}) == 1


@pytest.mark.cluster
def test_foreign_keys_of_shards_are_checked_at_once():
    """A COMMIT that fails on another node does not say which key it was."""
    deferred = "SELECT conname FROM pg_constraint WHERE condeferrable AND conrelid = %s::regclass"
    assert [rows(deferred, table) for table in {*BY_OWNER, OWNERS}] == [[]] * (len(BY_OWNER) + 1)


def test_every_row_has_an_owner():
    for table in BY_OWNER:
        ((is_nullable,),) = rows(
            "SELECT is_nullable FROM information_schema.columns"
            " WHERE table_name = %s AND column_name = 'user_id'",
            table,
        )
        assert is_nullable == "NO", table


def test_every_unique_key_begins_with_the_owner():
    found = {index: first for _, index, first in rows(UNIQUE_INDEXES, list(BY_OWNER))}
    if not is_distributed():
        # There a conversation's id is unique by itself, and says whose it is.
        assert found.pop("conversations_conversation_pkey") == "id"
    assert set(found.values()) == {"user_id"}, found


def test_every_foreign_key_has_the_owner_in_it():
    for table, target, cascades, columns, referred in rows(
        FOREIGN_KEYS, list(BY_OWNER), list(BY_OWNER)
    ):
        assert table in BY_OWNER, f"{table} is local, and refers to {target}"
        assert cascades, table
        assert columns[0] == "user_id", (table, columns)
        if target != "auth_user":
            assert referred[0] == "user_id", (table, referred)
            assert columns[1] == "conversation_id", (table, columns)


@pytest.mark.parametrize("table", sorted(BY_OWNER))
def test_the_owner_of_a_row_does_not_change(table):
    names = [
        name
        for (name,) in rows(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal", table
        )
    ]
    # The records of holds do not change at all.
    kept = {f"{table.removeprefix('conversations_')}_keep_owner", "legalholdrecord_update"}
    assert kept & set(names), names


# By the trigger; on a cluster Citus comes before it.
DOES_NOT_CHANGE = "does not change|modifying the partition value"


def test_an_update_of_the_owner_is_refused(alice, bob):
    conversation = make_conversation(alice, messages=1)
    for rows_ in (Conversation.objects.filter(pk=conversation.pk), Message.objects.all()):
        with pytest.raises(DatabaseError, match=DOES_NOT_CHANGE), transaction.atomic():
            rows_.update(user=bob)


def test_a_message_belongs_to_the_owner_of_its_conversation(alice, bob):
    conversation = make_conversation(alice)
    message = Message(user=bob, conversation=conversation, sequence=1, role="user", content="x")

    def store():
        message.save(force_insert=True)
        connection.check_constraints()

    with pytest.raises(IntegrityError, match="message_conversation_fk"):
        store()


def test_two_owners_cannot_share_a_conversation_id(alice):
    conversation = make_conversation(alice)
    other = Conversation(id=conversation.pk, user=make_user("carol"))
    assert not insert_conversation(other)
    assert not Conversation.objects.owned_by(other.user_id).exists()


@pytest.mark.one_node("the database itself refuses it in the table of conversations alone")
def test_the_key_of_conversations_refuses_a_second_owner(alice):
    conversation = make_conversation(alice)
    with pytest.raises(IntegrityError, match="conversations_conversation_pkey"):
        Conversation.objects.create(id=conversation.pk, user=make_user("carol"))
