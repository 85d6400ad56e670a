"""Messages, notes and reviews say whose they are. Second step: the rows that are there, and indexes.

Rows are filled by conversation, in batches that commit each for itself, and the indexes are built
while others read and write. A run that is interrupted is taken up again by the next `migrate`.
"""

from django.db import migrations, transaction

# Conversations at once; a long one takes its messages with it.
BATCH = 500

NEXT = """
SELECT id FROM conversations_conversation WHERE id > %s ORDER BY id LIMIT %s
"""
FILL = """
UPDATE conversations_{table} AS part SET user_id = conversation.user_id
FROM conversations_conversation conversation
WHERE conversation.id = part.conversation_id AND conversation.id = ANY(%s::uuid[])
    AND part.user_id IS NULL
"""
# (name while it is built, table, columns, condition)
INDEXES = [
    ("message_key_new", "message", "user_id, conversation_id, id", ""),
    ("message_sequence_new", "message", "user_id, conversation_id, sequence", ""),
    ("message_streaming_new", "message", "user_id, conversation_id", "WHERE status = 'streaming'"),
    ("conversation_owner_new", "conversation", "user_id, id", ""),
    ("conversationnote_key_new", "conversationnote", "user_id, conversation_id, id", ""),
    ("review_key_new", "review", "user_id, conversation_id, id", ""),
    ("review_unique_new", "review", "user_id, conversation_id, message_id, reviewer_id", ""),
    ("tombstone_key_new", "tombstone", "user_id, conversation_id, id", ""),
]
TABLES = ("message", "conversationnote", "review")

REMOVE = [f"DROP INDEX IF EXISTS {name}" for name, *_ in INDEXES]

# A row cannot stay without an owner: its conversation is gone then, and it with it.
NOT_NULL = [
    statement
    for table in TABLES
    for statement in (
        f"ALTER TABLE conversations_{table} DROP CONSTRAINT IF EXISTS {table}_owner_known",
        f"ALTER TABLE conversations_{table} ADD CONSTRAINT {table}_owner_known"
        " CHECK (user_id IS NOT NULL) NOT VALID",
        f"ALTER TABLE conversations_{table} VALIDATE CONSTRAINT {table}_owner_known",
    )
]
BUILD = [
    statement
    for name, table, columns, condition in INDEXES
    for statement in (
        f"DROP INDEX CONCURRENTLY IF EXISTS {name}",
        f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON conversations_{table} ({columns}) {condition}",
    )
]


def fill(apps, schema_editor):
    connection = schema_editor.connection
    last = "00000000-0000-0000-0000-000000000000"
    while True:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(NEXT, [last, BATCH])
            ids = [str(row[0]) for row in cursor.fetchall()]
            if not ids:
                return
            for table in TABLES:
                cursor.execute(FILL.format(table=table), [ids])
            last = ids[-1]


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('conversations', '0013_owner_columns'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunSQL(NOT_NULL + BUILD, REMOVE),
    ]
