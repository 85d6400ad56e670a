"""Columns for what SDKs and models say beyond the text of a message, and for an application's own
names of conversations.

A running turn also writes the new columns, and adds to `parts` and `tool_calls` as it goes: the
trigger of legal holds on running answers allows that, and still refuses to change what is there.
"""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.lookups
from django.conf import settings
from django.db import migrations, models

# The last element of `parts` may have grown, such as the text of a model's reasoning.
EXTENDS = """
CREATE FUNCTION conversations_extends(old_list jsonb, new_list jsonb, last_may_grow boolean)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $function$
DECLARE
    fixed integer;
BEGIN
    IF old_list IS NULL THEN
        RETURN true;
    END IF;
    IF new_list IS NULL OR jsonb_array_length(new_list) < jsonb_array_length(old_list) THEN
        RETURN false;
    END IF;
    fixed := jsonb_array_length(old_list) - CASE WHEN last_may_grow THEN 1 ELSE 0 END;
    FOR at IN 0 .. fixed - 1 LOOP
        IF (old_list -> at)::text <> (new_list -> at)::text THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END
$function$;
"""

TURN_HOLD = """
CREATE OR REPLACE FUNCTION conversations_turn_hold() RETURNS trigger
LANGUAGE plpgsql AS $function$
DECLARE
    written CONSTANT text[] := ARRAY[
        'content', 'status', 'finish_reason', 'error', 'tool_calls', 'sources', 'detected_mode',
        'provider', 'model', 'prompt_tokens', 'completion_tokens', 'latency_ms',
        'first_token_ms', 'updated_at', 'metadata', 'runner', 'search'{more_columns}];
BEGIN
    IF NOT EXISTS (
        SELECT FROM conversations_conversation
        WHERE user_id = OLD.user_id AND id = OLD.conversation_id AND legal_hold)
    THEN
        RETURN NEW;
    END IF;
    IF starts_with(NEW.content, OLD.content)
        AND {lists}
        AND (NEW.metadata - 'runner')::text = (OLD.metadata - 'runner')::text
        AND (to_jsonb(NEW) - written)::text = (to_jsonb(OLD) - written)::text
    THEN
        RETURN NEW;
    END IF;
    PERFORM conversations_refuse_change(format(
        'conversation %s is on legal hold: its running answer is only added to',
        OLD.conversation_id));
    RETURN NULL;
END
$function$;

DO $do$
BEGIN
    EXECUTE format('ALTER FUNCTION conversations_turn_hold() SET search_path = pg_catalog, %I, pg_temp',
        current_schema());
END
$do$;
"""

FORWARD = EXTENDS + TURN_HOLD.format(
    more_columns=", 'parts', 'extra', 'cached_tokens', 'reasoning_tokens', 'cost'",
    lists="""conversations_extends(OLD.tool_calls, NEW.tool_calls, false)
        AND conversations_extends(OLD.parts, NEW.parts, true)""",
)
BACK = TURN_HOLD.format(
    more_columns="",
    lists="(OLD.tool_calls IS NULL OR OLD.tool_calls::text = NEW.tool_calls::text)",
) + "DROP FUNCTION conversations_extends(jsonb, jsonb, boolean);"


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0018_conversation_owners'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='conversation',
            name='external_id',
            field=models.CharField(blank=True, max_length=255, null=True),
        ),
        migrations.AddField(
            model_name='conversation',
            name='tags',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=50), blank=True, default=list, size=None),
        ),
        migrations.AddField(
            model_name='message',
            name='cached_tokens',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='message',
            name='cost',
            field=models.DecimalField(blank=True, decimal_places=12, max_digits=20, null=True),
        ),
        migrations.AddField(
            model_name='message',
            name='extra',
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='message',
            name='reasoning_tokens',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='message',
            name='provider',
            field=models.CharField(blank=True, default='', max_length=100),
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=django.contrib.postgres.indexes.GinIndex(condition=models.Q(('tags', []), _negated=True), fields=['tags'], name='conversation_tags_idx'),
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=django.contrib.postgres.indexes.GinIndex(condition=models.Q(('metadata', {}), _negated=True), fields=['metadata'], name='conversation_metadata_idx', opclasses=['jsonb_path_ops']),
        ),
        migrations.AddConstraint(
            model_name='conversation',
            constraint=models.UniqueConstraint(condition=models.Q(('external_id__isnull', False)), fields=('user', 'external_id'), name='conversation_external_id_unique'),
        ),
        migrations.AddConstraint(
            model_name='conversation',
            constraint=models.CheckConstraint(condition=models.Q(('external_id', ''), _negated=True), name='conversation_external_id_not_empty'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.CheckConstraint(condition=models.Q(('cost__gte', 0), ('cost', None), _connector='OR'), name='message_cost_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.CheckConstraint(condition=models.Q(('extra', None), django.db.models.lookups.Exact(models.Func('extra', function='jsonb_typeof', output_field=models.CharField()), 'object'), _connector='OR'), name='message_extra_is_object'),
        ),
        migrations.RunSQL(FORWARD, BACK),
    ]
