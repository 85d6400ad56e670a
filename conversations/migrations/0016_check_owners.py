"""Messages, notes and reviews say whose they are. Last step: the foreign keys hold for all rows."""

from django.db import migrations

VALIDATE = [
    "ALTER TABLE conversations_message VALIDATE CONSTRAINT message_conversation_fk",
    "ALTER TABLE conversations_conversationnote"
    " VALIDATE CONSTRAINT conversationnote_conversation_fk",
    "ALTER TABLE conversations_review VALIDATE CONSTRAINT review_message_fk",
]


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('conversations', '0015_keys_by_owner'),
    ]

    operations = [
        migrations.RunSQL(VALIDATE, migrations.RunSQL.noop),
    ]
