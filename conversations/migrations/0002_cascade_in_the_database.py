"""Foreign keys with ON DELETE CASCADE.

Django 5.2 cascades in Python, loading all rows of a user into memory to delete them. The models
therefore have `db_constraint=False`, and this migration creates the constraints.
"""

from django.conf import settings
from django.db import migrations


def foreign_keys(apps, schema_editor):
    """(table, column, constraint, referenced table, referenced column), names quoted."""
    user = apps.get_model(settings.AUTH_USER_MODEL)
    conversation = apps.get_model("conversations", "Conversation")
    message = apps.get_model("conversations", "Message")
    for child, column, name, parent in [
        (conversation, "user_id", "conversation_user_fk", user),
        (message, "conversation_id", "message_conversation_fk", conversation),
    ]:
        yield map(
            schema_editor.quote_name,
            (child._meta.db_table, column, name, parent._meta.db_table, parent._meta.pk.column),
        )


def add(apps, schema_editor):
    for table, column, name, parent, key in foreign_keys(apps, schema_editor):
        schema_editor.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({column}) "
            f"REFERENCES {parent} ({key}) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"
        )


def remove(apps, schema_editor):
    for table, _column, name, _parent, _key in foreign_keys(apps, schema_editor):
        schema_editor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [migrations.RunPython(add, remove)]
