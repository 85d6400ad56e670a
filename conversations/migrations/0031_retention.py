"""Retention rules, emptied messages, and audit log entries that no longer name who was erased.

The two constraints hold for what is written from now on; migration 0033 looks at the rows that are
there, without blocking writes. The process of an earlier release that runs beside goes on as before.

An emptied message is no change of its own in the feed: `emptied_through` of its conversation is.

An entry of the audit log is still neither changed nor deleted, with one exception. An UPDATE that
changes no column, in a transaction with the setting `conversations.erasure`, replaces the names of
an account that does not exist any more by its pseudonym, and does nothing else.
"""

import conversations.models.ids
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.comparison
import django.db.models.lookups
import django.utils.timezone
from django.conf import settings
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

# What clients see of a conversation beside what an append writes.
SEEN = (
    'title', 'model_used', 'metadata', 'external_id', 'tags', 'pinned', 'archived_at', 'created_at',
    'active_branch', 'branch_count', 'forked_from')


def in_schema(functions):
    return f"""
DO $do$
BEGIN
    EXECUTE replace($functions$
{functions}
    $functions$, '@', quote_ident(current_schema()));
END
$do$;
"""


def update_of(names):
    """The function of migration 0021, which compares these columns."""
    old, new = (", ".join(f"{row}.{name}" for name in names) for row in ("OLD", "NEW"))
    return in_schema(f"""
CREATE OR REPLACE FUNCTION conversations_note_update() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    IF NEW.last_sequence > OLD.last_sequence THEN
        INSERT INTO @.conversations_pendingchange
            (user_id, conversation_id, kind, first_sequence, last_sequence, created_at)
        VALUES (NEW.user_id, NEW.id, 'message.created', OLD.last_sequence + 1, NEW.last_sequence,
            clock_timestamp());
    END IF;
    IF ({old}) IS DISTINCT FROM ({new}) THEN
        INSERT INTO @.conversations_pendingchange (user_id, conversation_id, kind, created_at)
        VALUES (NEW.user_id, NEW.id, 'conversation.changed', clock_timestamp());
    END IF;
    RETURN NULL;
END
$function$
""")


def message_but(unless):
    """The function of migration 0021; no change where `unless` is true."""
    return in_schema(f"""
CREATE OR REPLACE FUNCTION conversations_note_message() RETURNS trigger
LANGUAGE plpgsql AS $function$
DECLARE
    unseen CONSTANT text[] := ARRAY['search', 'runner'];
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.status <> 'streaming'
        AND ({unless}to_jsonb(NEW) - unseen = to_jsonb(OLD) - unseen)
    THEN
        RETURN NULL;
    END IF;
    INSERT INTO @.conversations_pendingchange
        (user_id, conversation_id, kind, message_id, first_sequence, last_sequence, created_at)
    VALUES (OLD.user_id, OLD.conversation_id, TG_ARGV[0], OLD.id, OLD.sequence, OLD.sequence,
        clock_timestamp());
    RETURN NULL;
END
$function$
""")


# `erasure` is {"account": id, "pseudonym": text, "names": [text, …]}. Whole words are replaced; a
# name that is short or a number only where it is a whole value.
PSEUDONYMS = """
CREATE FUNCTION conversations_without_names(value text, erasure jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $function$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT jsonb_array_elements_text(erasure -> 'names') LOOP
        IF length(name) < 3 OR name ~ '^[0-9]+$' THEN
            value := CASE WHEN value = name THEN erasure ->> 'pseudonym'
                ELSE replace(value, to_json(name)::text, erasure ->> 'quoted') END;
        ELSE
            value := regexp_replace(
                value,
                '(?<![[:alnum:]_])' || regexp_replace(name, '([^[:alnum:]_])', '\\\\\\1', 'g')
                    || '(?![[:alnum:]_])',
                erasure ->> 'pseudonym', 'gi');
        END IF;
    END LOOP;
    RETURN value;
END
$function$;

CREATE OR REPLACE FUNCTION conversations_trail_stays() RETURNS trigger
LANGUAGE plpgsql AS $function$
DECLARE
    erasure jsonb;
    account bigint;
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(NEW)::text = to_jsonb(OLD)::text THEN
        erasure := NULLIF(current_setting('conversations.erasure', true), '')::jsonb;
        account := (erasure ->> 'account')::bigint;
        IF account IS NOT NULL AND erasure ->> 'pseudonym' ~ '^erased-[0-9a-f]{16}$'
            AND NOT EXISTS (
                SELECT FROM auth_user WHERE id = account
                    OR username IN (SELECT jsonb_array_elements_text(erasure -> 'names')))
        THEN
            erasure := erasure || jsonb_build_object(
                'quoted', to_json(erasure ->> 'pseudonym')::text);
            IF OLD.owner_id = account THEN
                NEW.owner_id := NULL;
                NEW.owner_name := erasure ->> 'pseudonym';
                NEW.detail := OLD.detail - 'query';
            END IF;
            IF OLD.staff_id = account THEN
                NEW.staff_id := NULL;
                NEW.staff_name := erasure ->> 'pseudonym';
                NEW.address := NULL;
            END IF;
            NEW.reason := conversations_without_names(OLD.reason, erasure);
            NEW.detail := conversations_without_names(NEW.detail::text, erasure)::jsonb;
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'access records are neither changed nor deleted'
        USING ERRCODE = 'restrict_violation';
END
$function$;

DO $do$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION conversations_trail_stays() SET search_path = pg_catalog, %I, pg_temp',
        current_schema());
END
$do$;
"""
NO_PSEUDONYMS = """
CREATE OR REPLACE FUNCTION conversations_trail_stays() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    RAISE EXCEPTION 'access records are neither changed nor deleted'
        USING ERRCODE = 'restrict_violation';
END
$function$;
DROP FUNCTION conversations_without_names(text, jsonb);
"""


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('conversations', '0030_conversation_counts'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='RetentionRule',
            fields=[
                ('id', models.UUIDField(default=conversations.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(help_text='Stands in the audit log.', max_length=100, unique=True)),
                ('act', models.CharField(choices=[('delete', 'Delete conversations'), ('empty', 'Empty messages, keep their counts')], max_length=6, verbose_name='action')),
                ('days', models.PositiveIntegerField(help_text='Since the newest message.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(36500)], verbose_name='days without activity')),
                ('group', models.ForeignKey(blank=True, help_text='Only conversations of owners in this group.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='auth.group')),
                ('model_used', models.CharField(blank=True, default='', help_text='Only with this model.', max_length=255, verbose_name='model')),
                ('tag', models.CharField(blank=True, default='', help_text='Only with this tag.', max_length=50)),
                ('namespace', models.CharField(blank=True, default='', help_text='Only conversations of users in this namespace.', max_length=32)),
                ('keep_pinned', models.BooleanField(default=True, verbose_name='leave out pinned conversations')),
                ('active', models.BooleanField(default=False, help_text='apply_retention applies active rules.')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                'constraints': [
                    models.CheckConstraint(condition=models.Q(('act__in', ['delete', 'empty'])), name='retentionrule_act_known'),
                    models.CheckConstraint(condition=models.Q(('days__gte', 1), ('days__lte', 36500)), name='retentionrule_days_positive'),
                    models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='retentionrule_name_not_empty'),
                ],
            },
        ),
        migrations.RemoveConstraint(
            model_name='message',
            name='message_content_not_empty',
        ),
        migrations.AddField(
            model_name='conversation',
            name='emptied_through',
            field=models.PositiveIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name='message',
            name='emptied_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        AddConstraintNotValid(
            model_name='message',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('content', ''), _negated=True), django.db.models.lookups.GreaterThan(django.db.models.functions.comparison.Coalesce(models.Func('tool_calls', function='jsonb_array_length', output_field=models.IntegerField()), models.Value(0)), 0), django.db.models.lookups.GreaterThan(django.db.models.functions.comparison.Coalesce(models.Func('parts', function='jsonb_array_length', output_field=models.IntegerField()), models.Value(0)), 0), ('role', 'tool'), models.Q(('status', 'complete'), _negated=True), ('emptied_at__isnull', False), _connector='OR'), name='message_content_not_empty'),
        ),
        AddConstraintNotValid(
            model_name='message',
            constraint=models.CheckConstraint(condition=models.Q(('emptied_at', None), models.Q(('error__isnull', True), ('extra__isnull', True), ('name__isnull', True), ('parts__isnull', True), ('rating_comment__isnull', True), ('sources__isnull', True), ('tool_call_id__isnull', True), ('tool_calls__isnull', True), ('content', ''), ('metadata', {})), _connector='OR'), name='message_emptied_is_empty'),
        ),
        migrations.RunSQL(
            [
                update_of([*SEEN, 'emptied_through']),
                message_but('NEW.emptied_at IS DISTINCT FROM OLD.emptied_at OR '),
                PSEUDONYMS,
            ],
            [update_of(SEEN), message_but(''), NO_PSEUDONYMS],
        ),
    ]
