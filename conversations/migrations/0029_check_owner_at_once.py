"""A new conversation's owner is checked, and locked against erasure, by its INSERT.

At the commit it would be too late for the triggers of migration 0030: who erases the owner locks
the account first and then waits for the rows that they write.
"""

from django.db import migrations

from conversations.db.owners import is_distributed

ALTER = "ALTER TABLE conversations_conversation ALTER CONSTRAINT conversation_user_fk {}"


def altered(how):
    def alter(apps, schema_editor):
        if not is_distributed():  # there no foreign key is deferred
            schema_editor.execute(ALTER.format(how))

    return alter


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0028_defaults_for_earlier_releases'),
    ]

    operations = [
        migrations.RunPython(
            altered('NOT DEFERRABLE'), altered('DEFERRABLE INITIALLY DEFERRED')
        ),
    ]
