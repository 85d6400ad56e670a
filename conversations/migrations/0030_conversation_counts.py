"""How many conversations each owner has, kept by triggers (`models/conversation_count.py`).

The triggers come first, and their lock keeps writers away until the end of the migration: what is
stored by then is counted here, what comes later by them, whichever release writes it.

Erasing a user deletes the account, which takes conversations and counts along: those deletions, of
a trigger's depth, are not counted.
"""

import conversations.models.ids
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from conversations.db.owners import is_distributed
from conversations.db.sharding import OwnTable

FUNCTIONS = """
DO $do$
BEGIN
    EXECUTE replace($functions$

CREATE FUNCTION conversations_count() RETURNS trigger
LANGUAGE plpgsql AS $function$
DECLARE
    written record;
BEGIN
    FOR written IN
        SELECT user_id, CASE TG_OP WHEN 'DELETE' THEN -count(*) ELSE count(*) END AS change
        FROM touched GROUP BY user_id
    LOOP
        UPDATE @.conversations_conversationcount SET number = number + written.change
        WHERE user_id = written.user_id AND id = (
            SELECT id FROM @.conversations_conversationcount
            WHERE user_id = written.user_id LIMIT 1 FOR UPDATE SKIP LOCKED);
        IF NOT FOUND THEN
            INSERT INTO @.conversations_conversationcount (user_id, id, number)
            VALUES (written.user_id, gen_random_uuid(), written.change);
        END IF;
    END LOOP;
    RETURN NULL;
END
$function$;

CREATE FUNCTION conversations_count_none() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    DELETE FROM @.conversations_conversationcount;
    RETURN NULL;
END
$function$

    $functions$, '@', quote_ident(current_schema()));
END
$do$;
"""
TRIGGERS = """
CREATE TRIGGER conversation_count_inserted AFTER INSERT ON conversations_conversation
    REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION conversations_count();
CREATE TRIGGER conversation_count_deleted AFTER DELETE ON conversations_conversation
    REFERENCING OLD TABLE AS touched FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION conversations_count();
"""
TRUNCATED = """
CREATE TRIGGER conversation_count_truncated AFTER TRUNCATE ON conversations_conversation
    FOR EACH STATEMENT EXECUTE FUNCTION conversations_count_none()
"""
REMOVE = "DROP FUNCTION conversations_count() CASCADE; DROP FUNCTION conversations_count_none() CASCADE"
COUNT = """
INSERT INTO conversations_conversationcount (user_id, id, number)
SELECT user_id, gen_random_uuid(), count(*) FROM conversations_conversation GROUP BY user_id
"""


def count_truncations(apps, schema_editor):
    if not is_distributed():  # there are no triggers of TRUNCATE there
        schema_editor.execute(TRUNCATED)


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0029_check_owner_at_once'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ConversationCount',
            fields=[
                ('pk', models.CompositePrimaryKey('user_id', 'id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('id', models.UUIDField(default=conversations.models.ids.new_id, editable=False)),
                ('number', models.IntegerField()),
                ('user', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        OwnTable('ConversationCount', parent='user'),
        migrations.RunSQL([FUNCTIONS, TRIGGERS], REMOVE),
        migrations.RunPython(count_truncations, migrations.RunPython.noop),
        migrations.RunSQL(COUNT, migrations.RunSQL.noop),
    ]
