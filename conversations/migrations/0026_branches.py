"""Branches of a conversation. Existing conversations have a single line and so no row.

On legal hold messages are still added, also on new branches, and the branch that a conversation
shows may change with them; no branch is deleted, shortened or moved.
"""

import django.db.models.deletion
import django.db.models.lookups
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from conversations.db.sharding import OwnTable


HOLDS = [
    """
    CREATE TRIGGER branch_hold_update BEFORE UPDATE ON conversations_branch
        FOR EACH ROW WHEN (
            NEW.last_sequence < OLD.last_sequence OR NEW.length < OLD.length
            OR (NEW.user_id, NEW.conversation_id, NEW.number, NEW.parent, NEW.fork_branch,
                NEW.fork_sequence, NEW.segments::text, NEW.created_at)
            IS DISTINCT FROM
                (OLD.user_id, OLD.conversation_id, OLD.number, OLD.parent, OLD.fork_branch,
                OLD.fork_sequence, OLD.segments::text, OLD.created_at))
        EXECUTE FUNCTION conversations_part_hold()
    """,
    """
    CREATE TRIGGER branch_hold_delete BEFORE DELETE ON conversations_branch
        FOR EACH ROW EXECUTE FUNCTION conversations_part_hold()
    """,
]

CONVERSATION_HOLD = """
CREATE OR REPLACE FUNCTION conversations_conversation_hold() RETURNS trigger
LANGUAGE plpgsql AS $function$
DECLARE
    counters CONSTANT text[] := ARRAY['last_sequence', 'message_count', 'updated_at'{more}];
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.last_sequence > OLD.last_sequence
            AND NEW.last_sequence - OLD.last_sequence = NEW.message_count - OLD.message_count
            AND NEW.updated_at >= OLD.updated_at
            AND (to_jsonb(NEW) - counters)::text = (to_jsonb(OLD) - counters)::text
        THEN
            RETURN NEW;  -- an append
        END IF;
        IF NOT NEW.legal_hold
            AND (to_jsonb(NEW) - 'legal_hold')::text = (to_jsonb(OLD) - 'legal_hold')::text
            AND NOT COALESCE(conversations_recorded_hold(OLD.user_id, OLD.id), true)
        THEN
            RETURN NEW;  -- a release that is on record
        END IF;
    END IF;
    PERFORM conversations_refuse_change(format(
        'conversation %s is on legal hold: it is not changed or deleted', OLD.id));
    RETURN NULL;
END
$function$;
"""
SEARCH_PATH = """
DO $do$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION conversations_conversation_hold() SET search_path = pg_catalog, %I, pg_temp',
        current_schema());
END
$do$;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0025_stream_tickets'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Branch',
            fields=[
                ('pk', models.CompositePrimaryKey('user_id', 'conversation_id', 'number', blank=True, editable=False, primary_key=True, serialize=False)),
                ('conversation', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='branches', to='conversations.conversation')),
                ('user', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('number', models.SmallIntegerField()),
                ('parent', models.SmallIntegerField(null=True)),
                ('fork_branch', models.SmallIntegerField(default=0)),
                ('fork_sequence', models.PositiveIntegerField(default=0)),
                ('segments', models.JSONField()),
                ('last_sequence', models.PositiveIntegerField()),
                ('length', models.PositiveIntegerField()),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'verbose_name_plural': 'branches',
            },
        ),
        OwnTable('Branch'),
        migrations.AddField(
            model_name='conversation',
            name='active_branch',
            field=models.SmallIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name='conversation',
            name='branch_count',
            field=models.PositiveSmallIntegerField(default=1, editable=False),
        ),
        migrations.AddField(
            model_name='conversation',
            name='forked_from',
            field=models.UUIDField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='conversation',
            name='last_branch',
            field=models.SmallIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name='message',
            name='branch',
            field=models.SmallIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('branch', 0), _negated=True), fields=['user', 'conversation', 'branch', 'sequence'], name='message_branch_idx'),
        ),
        migrations.AddIndex(
            model_name='branch',
            index=models.Index(fields=['user', 'conversation', 'fork_sequence'], name='branch_fork_idx'),
        ),
        migrations.AddConstraint(
            model_name='branch',
            constraint=models.CheckConstraint(condition=models.Q(('number__gte', 0)), name='branch_number_known'),
        ),
        migrations.AddConstraint(
            model_name='branch',
            constraint=models.CheckConstraint(condition=models.Q(django.db.models.lookups.Exact(models.Func('segments', function='jsonb_typeof', output_field=models.CharField()), 'array')), name='branch_segments_is_array'),
        ),
        migrations.RunSQL(HOLDS, migrations.RunSQL.noop),
        migrations.RunSQL(
            [
                CONVERSATION_HOLD.replace(
                    '{more}', ", 'active_branch', 'branch_count', 'last_branch'"
                ),
                SEARCH_PATH,
            ],
            [CONVERSATION_HOLD.replace('{more}', ''), SEARCH_PATH],
        ),
    ]
