"""The records of legal holds that the database asks for lie with the owner of the conversation.

So the triggers of 0007 read rows of one owner alone, as a sharded database needs it. Holds that
were placed or released before are taken over from the audit log.
"""

import conversations.models.ids
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

TABLE = """
ALTER TABLE conversations_legalholdrecord ADD CONSTRAINT legalholdrecord_conversation_fk
    FOREIGN KEY (user_id, conversation_id) REFERENCES conversations_conversation (user_id, id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;

INSERT INTO conversations_legalholdrecord (id, user_id, conversation_id, on_hold, created_at)
SELECT record.id, conversation.user_id, conversation.id,
    (record.detail ->> 'on_hold')::boolean, record.created_at
FROM conversations_accessrecord record
JOIN conversations_conversation conversation ON conversation.id = record.conversation_id
WHERE record.action = 'hold' AND record.detail ->> 'on_hold' IS NOT NULL;

CREATE FUNCTION conversations_recorded_hold(owner integer, conversation uuid) RETURNS boolean
LANGUAGE plpgsql STABLE AS $function$
BEGIN
    RETURN (
        SELECT on_hold FROM conversations_legalholdrecord
        WHERE user_id = owner AND conversation_id = conversation
        ORDER BY created_at DESC, id DESC LIMIT 1);
END
$function$;

CREATE OR REPLACE FUNCTION conversations_conversation_hold() RETURNS trigger
LANGUAGE plpgsql AS $function$
DECLARE
    counters CONSTANT text[] := ARRAY['last_sequence', 'message_count', 'updated_at'];
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

CREATE OR REPLACE FUNCTION conversations_hold_placed() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    IF NOT COALESCE(conversations_recorded_hold(NEW.user_id, NEW.id), true) THEN
        PERFORM conversations_refuse_change(format(
            'the legal hold of conversation %s was released: placing it again takes a record',
            NEW.id));
    END IF;
    RETURN NEW;
END
$function$;
DO $do$
DECLARE
    guard text;
BEGIN
    FOREACH guard IN ARRAY ARRAY['conversation_hold', 'hold_placed']
    LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = pg_catalog, %I, pg_temp',
            'conversations_' || guard, current_schema());
    END LOOP;
END
$do$;

DROP FUNCTION conversations_recorded_hold(uuid);

-- What the database deletes with a conversation is deleted by a trigger of its own.
CREATE FUNCTION conversations_keep_hold_record() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    RAISE EXCEPTION 'the records of legal holds are not changed or deleted'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'legalholdrecord_immutable';
END
$function$;
CREATE TRIGGER legalholdrecord_update BEFORE UPDATE ON conversations_legalholdrecord
    FOR EACH ROW EXECUTE FUNCTION conversations_keep_hold_record();
CREATE TRIGGER legalholdrecord_delete BEFORE DELETE ON conversations_legalholdrecord
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION conversations_keep_hold_record();
CREATE TRIGGER legalholdrecord_hold_truncate BEFORE TRUNCATE ON conversations_legalholdrecord
    FOR EACH STATEMENT EXECUTE FUNCTION conversations_truncate_hold();
"""

BACK = """
CREATE FUNCTION conversations_recorded_hold(conversation uuid) RETURNS boolean
LANGUAGE plpgsql STABLE AS $function$
BEGIN
    RETURN (
        SELECT (detail ->> 'on_hold')::boolean FROM conversations_accessrecord
        WHERE conversation_id = conversation AND action = 'hold'
        ORDER BY created_at DESC, id DESC LIMIT 1);
END
$function$;

CREATE OR REPLACE FUNCTION conversations_conversation_hold() RETURNS trigger
LANGUAGE plpgsql AS $function$
DECLARE
    counters CONSTANT text[] := ARRAY['last_sequence', 'message_count', 'updated_at'];
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
            AND NOT COALESCE(conversations_recorded_hold(OLD.id), true)
        THEN
            RETURN NEW;  -- a release that is on record
        END IF;
    END IF;
    PERFORM conversations_refuse_change(format(
        'conversation %s is on legal hold: it is not changed or deleted', OLD.id));
    RETURN NULL;
END
$function$;

CREATE OR REPLACE FUNCTION conversations_hold_placed() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    IF NOT COALESCE(conversations_recorded_hold(NEW.id), true) THEN
        PERFORM conversations_refuse_change(format(
            'the legal hold of conversation %s was released: placing it again takes a record',
            NEW.id));
    END IF;
    RETURN NEW;
END
$function$;
DO $do$
DECLARE
    guard text;
BEGIN
    FOREACH guard IN ARRAY ARRAY['conversation_hold', 'hold_placed']
    LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = pg_catalog, %I, pg_temp',
            'conversations_' || guard, current_schema());
    END LOOP;
END
$do$;

DROP FUNCTION conversations_recorded_hold(integer, uuid);
DROP FUNCTION conversations_keep_hold_record() CASCADE;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0016_check_owners'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='LegalHoldRecord',
            fields=[
                ('pk', models.CompositePrimaryKey('user_id', 'conversation_id', 'id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('id', models.UUIDField(default=conversations.models.ids.new_id, editable=False)),
                ('on_hold', models.BooleanField()),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('conversation', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='conversations.conversation')),
                ('user', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.RunSQL(TABLE, BACK),
    ]
