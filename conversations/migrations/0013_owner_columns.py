"""Messages, notes and reviews say whose they are. First step of three: the columns, still empty.

Until 0015 has built the keys, a trigger names the owner of new rows, so that processes of the
earlier release can go on writing, and the triggers of legal holds (0007) let a row be given its
owner, but change in nothing else.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

TABLES = ("message", "conversationnote", "review")

FILLING = """
CREATE FUNCTION conversations_name_owner() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    IF NEW.user_id IS NULL THEN
        NEW.user_id := (
            SELECT user_id FROM conversations_conversation WHERE id = NEW.conversation_id);
    END IF;
    RETURN NEW;
END
$function$;

CREATE OR REPLACE FUNCTION conversations_part_hold() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.user_id IS NULL
        AND (to_jsonb(NEW) - 'user_id')::text = (to_jsonb(OLD) - 'user_id')::text
    THEN
        RETURN NEW;  -- it is told its owner
    END IF;
    IF TG_OP <> 'INSERT' THEN
        PERFORM conversations_check_hold(OLD.conversation_id);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'INSERT' OR NEW.conversation_id <> OLD.conversation_id THEN
        PERFORM conversations_check_hold(NEW.conversation_id);
    END IF;
    RETURN NEW;
END
$function$;

CREATE OR REPLACE FUNCTION conversations_turn_hold() RETURNS trigger
LANGUAGE plpgsql AS $function$
DECLARE
    written CONSTANT text[] := ARRAY[
        'content', 'status', 'finish_reason', 'error', 'tool_calls', 'sources', 'detected_mode',
        'provider', 'model', 'prompt_tokens', 'completion_tokens', 'latency_ms',
        'first_token_ms', 'updated_at', 'metadata', 'runner', 'search'];
BEGIN
    IF OLD.user_id IS NULL
        AND (to_jsonb(NEW) - 'user_id')::text = (to_jsonb(OLD) - 'user_id')::text
    THEN
        RETURN NEW;  -- it is told its owner
    END IF;
    IF NOT EXISTS (
        SELECT FROM conversations_conversation WHERE id = OLD.conversation_id AND legal_hold)
    THEN
        RETURN NEW;
    END IF;
    IF starts_with(NEW.content, OLD.content)
        AND (OLD.tool_calls IS NULL OR OLD.tool_calls::text = NEW.tool_calls::text)
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
DECLARE
    guard text;
BEGIN
    FOREACH guard IN ARRAY ARRAY['part_hold', 'turn_hold', 'name_owner']
    LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = pg_catalog, %I, pg_temp',
            'conversations_' || guard, current_schema());
    END LOOP;
END
$do$;
""" + "".join(
    f"""
CREATE TRIGGER {table}_name_owner BEFORE INSERT ON conversations_{table}
    FOR EACH ROW EXECUTE FUNCTION conversations_name_owner();"""
    for table in TABLES
)

# As migration 0007 has them.
AS_BEFORE = """
DROP FUNCTION conversations_name_owner() CASCADE;

CREATE OR REPLACE FUNCTION conversations_part_hold() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM conversations_check_hold(OLD.conversation_id);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'INSERT' OR NEW.conversation_id <> OLD.conversation_id THEN
        PERFORM conversations_check_hold(NEW.conversation_id);
    END IF;
    RETURN NEW;
END
$function$;

CREATE OR REPLACE FUNCTION conversations_turn_hold() RETURNS trigger
LANGUAGE plpgsql AS $function$
DECLARE
    written CONSTANT text[] := ARRAY[
        'content', 'status', 'finish_reason', 'error', 'tool_calls', 'sources', 'detected_mode',
        'provider', 'model', 'prompt_tokens', 'completion_tokens', 'latency_ms',
        'first_token_ms', 'updated_at', 'metadata', 'runner', 'search'];
BEGIN
    IF NOT EXISTS (
        SELECT FROM conversations_conversation WHERE id = OLD.conversation_id AND legal_hold)
    THEN
        RETURN NEW;
    END IF;
    IF starts_with(NEW.content, OLD.content)
        AND (OLD.tool_calls IS NULL OR OLD.tool_calls::text = NEW.tool_calls::text)
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
DECLARE
    guard text;
BEGIN
    FOREACH guard IN ARRAY ARRAY['part_hold', 'turn_hold']
    LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = pg_catalog, %I, pg_temp',
            'conversations_' || guard, current_schema());
    END LOOP;
END
$do$;
"""


def owner():
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        null=True,
        on_delete=django.db.models.deletion.DO_NOTHING,
        related_name="+",
        to=settings.AUTH_USER_MODEL,
    )


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0012_saved_views'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        *(migrations.AddField(model_name=table, name='user', field=owner()) for table in TABLES),
        migrations.RunSQL(FILLING, AS_BEFORE),
    ]
