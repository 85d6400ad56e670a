"""One relation that answers whose conversation an id is.

On one node it is a view of the conversations, whose ids are unique there. On a cluster that is
sharded by owner, `manage.py distribute` puts a table in its place, which is sharded by the id.
"""

from django.db import migrations

VIEW = """
CREATE VIEW conversations_conversation_owner AS
    SELECT id, user_id FROM conversations_conversation
"""


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0017_hold_records'),
    ]

    operations = [
        migrations.RunSQL(VIEW, "DROP VIEW conversations_conversation_owner"),
    ]
