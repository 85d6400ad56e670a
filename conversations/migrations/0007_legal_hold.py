"""Triggers that enforce a legal hold for all writes to the database.

While `conversation.legal_hold` is true:

- the conversation's row accepts appends (increments of its counters) and the release of the hold;
  neither it nor its owner can be deleted;
- messages can be added; the answer of a running turn (`streaming`) can be updated until it ends;
  other messages are immutable;
- notes can be added; notes and reviews are immutable, and no review can be added.

The newest AccessRecord with the action `hold` has to agree with the new value of `legal_hold`, so
that an UPDATE alone neither places nor releases a hold.

Errors have the code `restrict_violation` and the constraint name `conversation_legal_hold`, which
`services/errors.py` checks. Rows are compared as text, in all columns but the named ones: columns
added later are immutable too, and 1 differs from 1.0. tsvectors are compared as well, so a migration
that recomputes them has to disable these triggers (`ALTER TABLE … DISABLE TRIGGER`). The trigger
functions set their search_path, so that a temporary table cannot replace the real one.

Appends without a hold do not call the trigger functions: a WHEN condition on the row is evaluated
first. The index is partial, on the conversations on hold.
"""

from django.db import migrations, models


FUNCTIONS = """
CREATE FUNCTION conversations_refuse_change(refusal text) RETURNS void
LANGUAGE plpgsql AS $function$
BEGIN
    RAISE EXCEPTION '%', refusal
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'conversation_legal_hold';
END
$function$;

-- Whether the newest record of a hold placed it (true) or released it (false); null without one.
CREATE FUNCTION conversations_recorded_hold(conversation uuid) RETURNS boolean
LANGUAGE plpgsql STABLE AS $function$
BEGIN
    RETURN (
        SELECT (detail ->> 'on_hold')::boolean FROM conversations_accessrecord
        WHERE conversation_id = conversation AND action = 'hold'
        ORDER BY created_at DESC, id DESC LIMIT 1);
END
$function$;

-- Locks the conversation against a hold that is being placed: what is done beside it is done
-- either before it or not at all. The services have locked the row already.
CREATE FUNCTION conversations_check_hold(conversation uuid) RETURNS void
LANGUAGE plpgsql AS $function$
DECLARE
    held boolean;
BEGIN
    SELECT legal_hold INTO held FROM conversations_conversation
        WHERE id = conversation FOR SHARE;
    IF held THEN
        PERFORM conversations_refuse_change(format(
            'conversation %s is on legal hold: nothing of it is changed or deleted',
            conversation));
    END IF;
END
$function$;

CREATE FUNCTION conversations_conversation_hold() RETURNS trigger
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

CREATE FUNCTION conversations_hold_placed() RETURNS trigger
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

-- Of messages, notes and reviews, where nothing of the kind is allowed during a hold.
CREATE FUNCTION conversations_part_hold() RETURNS trigger
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

-- Of a message that is `streaming`: a turn writes to it. Not locked, as a turn never waits for a
-- conversation, and one statement writes the answers of many.
CREATE FUNCTION conversations_turn_hold() RETURNS trigger
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

CREATE FUNCTION conversations_truncate_hold() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    IF EXISTS (SELECT FROM conversations_conversation WHERE legal_hold) THEN
        PERFORM conversations_refuse_change(format(
            'conversations are on legal hold: %s is not truncated', TG_TABLE_NAME));
    END IF;
    RETURN NULL;
END
$function$;

DO $do$
DECLARE
    guard text;
BEGIN
    FOREACH guard IN ARRAY ARRAY[
        'conversation_hold', 'hold_placed', 'part_hold', 'turn_hold', 'truncate_hold']
    LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = pg_catalog, %I, pg_temp',
            'conversations_' || guard, current_schema());
    END LOOP;
END
$do$;
"""

TRIGGERS = """
CREATE TRIGGER conversation_hold_update BEFORE UPDATE ON conversations_conversation
    FOR EACH ROW WHEN (OLD.legal_hold) EXECUTE FUNCTION conversations_conversation_hold();
CREATE TRIGGER conversation_hold_delete BEFORE DELETE ON conversations_conversation
    FOR EACH ROW WHEN (OLD.legal_hold) EXECUTE FUNCTION conversations_conversation_hold();
CREATE TRIGGER conversation_hold_placed BEFORE UPDATE ON conversations_conversation
    FOR EACH ROW WHEN (NEW.legal_hold AND NOT OLD.legal_hold)
    EXECUTE FUNCTION conversations_hold_placed();
CREATE TRIGGER message_hold_update BEFORE UPDATE ON conversations_message
    FOR EACH ROW WHEN (OLD.status <> 'streaming' OR NEW.conversation_id <> OLD.conversation_id)
    EXECUTE FUNCTION conversations_part_hold();
CREATE TRIGGER message_hold_turn BEFORE UPDATE ON conversations_message
    FOR EACH ROW WHEN (OLD.status = 'streaming' AND NEW.conversation_id = OLD.conversation_id)
    EXECUTE FUNCTION conversations_turn_hold();
CREATE TRIGGER message_hold_delete BEFORE DELETE ON conversations_message
    FOR EACH ROW EXECUTE FUNCTION conversations_part_hold();
CREATE TRIGGER review_hold BEFORE INSERT OR UPDATE OR DELETE ON conversations_review
    FOR EACH ROW EXECUTE FUNCTION conversations_part_hold();
CREATE TRIGGER conversationnote_hold BEFORE UPDATE OR DELETE ON conversations_conversationnote
    FOR EACH ROW EXECUTE FUNCTION conversations_part_hold();
""" + "".join(
    f"""
CREATE TRIGGER {table}_hold_truncate BEFORE TRUNCATE ON conversations_{table}
    FOR EACH STATEMENT EXECUTE FUNCTION conversations_truncate_hold();"""
    # Also the AccessRecords, which a release requires.
    for table in ("conversation", "message", "review", "conversationnote", "accessrecord")
)

REMOVE = """
DROP FUNCTION conversations_conversation_hold() CASCADE;
DROP FUNCTION conversations_hold_placed() CASCADE;
DROP FUNCTION conversations_part_hold() CASCADE;
DROP FUNCTION conversations_turn_hold() CASCADE;
DROP FUNCTION conversations_truncate_hold() CASCADE;
DROP FUNCTION conversations_check_hold(uuid);
DROP FUNCTION conversations_recorded_hold(uuid);
DROP FUNCTION conversations_refuse_change(text);
"""


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0006_identity'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(condition=models.Q(('legal_hold', True)), fields=['-updated_at', '-id'], name='conversation_held_idx'),
        ),
        migrations.RunSQL([FUNCTIONS, TRIGGERS], REMOVE),
    ]
