"""Messages, notes and reviews say whose they are. Third step: keys that begin with the owner.

So the tables can be sharded by owner (docs/scale.md), and every statement about somebody's
conversation finds its rows by (user_id, conversation_id) without a join. The indexes are there
(0014), so the exchange is one short transaction; 0016 checks the foreign keys.
"""

import conversations.models.ids
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

TABLES = ("message", "conversationnote", "review")

EXCHANGE = """
ALTER TABLE conversations_review DROP CONSTRAINT review_message_fk;
ALTER TABLE conversations_message DROP CONSTRAINT message_conversation_fk;
ALTER TABLE conversations_conversationnote DROP CONSTRAINT conversationnote_conversation_fk;

ALTER TABLE conversations_message ALTER user_id SET NOT NULL,
    DROP CONSTRAINT message_owner_known,
    DROP CONSTRAINT conversations_message_pkey,
    DROP CONSTRAINT message_sequence_unique;
DROP INDEX message_one_streaming;
ALTER TABLE conversations_message
    ADD CONSTRAINT conversations_message_pkey PRIMARY KEY USING INDEX message_key_new,
    ADD CONSTRAINT message_sequence_unique UNIQUE USING INDEX message_sequence_new;
ALTER INDEX message_streaming_new RENAME TO message_one_streaming;

ALTER TABLE conversations_conversationnote ALTER user_id SET NOT NULL,
    DROP CONSTRAINT conversationnote_owner_known,
    DROP CONSTRAINT conversations_conversationnote_pkey;
ALTER TABLE conversations_conversationnote
    ADD CONSTRAINT conversations_conversationnote_pkey
        PRIMARY KEY USING INDEX conversationnote_key_new;
DROP INDEX conversationnote_idx;
CREATE INDEX conversationnote_idx
    ON conversations_conversationnote (user_id, conversation_id, created_at);

ALTER TABLE conversations_review ALTER user_id SET NOT NULL,
    DROP CONSTRAINT review_owner_known,
    DROP CONSTRAINT conversations_review_pkey,
    DROP CONSTRAINT review_unique;
ALTER TABLE conversations_review
    ADD CONSTRAINT conversations_review_pkey PRIMARY KEY USING INDEX review_key_new,
    ADD CONSTRAINT review_unique UNIQUE USING INDEX review_unique_new;

ALTER TABLE conversations_tombstone DROP CONSTRAINT conversations_tombstone_pkey;
ALTER TABLE conversations_tombstone
    ADD CONSTRAINT conversations_tombstone_pkey PRIMARY KEY USING INDEX tombstone_key_new;

ALTER TABLE conversations_conversation
    ADD CONSTRAINT conversation_owner_unique UNIQUE USING INDEX conversation_owner_new;

ALTER TABLE conversations_message ADD CONSTRAINT message_conversation_fk
    FOREIGN KEY (user_id, conversation_id) REFERENCES conversations_conversation (user_id, id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED NOT VALID;
ALTER TABLE conversations_conversationnote ADD CONSTRAINT conversationnote_conversation_fk
    FOREIGN KEY (user_id, conversation_id) REFERENCES conversations_conversation (user_id, id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED NOT VALID;
ALTER TABLE conversations_review ADD CONSTRAINT review_message_fk
    FOREIGN KEY (user_id, conversation_id, message_id)
    REFERENCES conversations_message (user_id, conversation_id, id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED NOT VALID;

DROP FUNCTION conversations_name_owner() CASCADE;
CREATE FUNCTION conversations_check_hold(owner integer, conversation uuid) RETURNS void
LANGUAGE plpgsql AS $function$
DECLARE
    held boolean;
BEGIN
    SELECT legal_hold INTO held FROM conversations_conversation
        WHERE user_id = owner AND id = conversation FOR SHARE;
    IF held THEN
        PERFORM conversations_refuse_change(format(
            'conversation %s is on legal hold: nothing of it is changed or deleted',
            conversation));
    END IF;
END
$function$;

CREATE OR REPLACE FUNCTION conversations_part_hold() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM conversations_check_hold(OLD.user_id, OLD.conversation_id);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'INSERT' OR NEW.conversation_id <> OLD.conversation_id THEN
        PERFORM conversations_check_hold(NEW.user_id, NEW.conversation_id);
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
        SELECT FROM conversations_conversation
        WHERE user_id = OLD.user_id AND id = OLD.conversation_id AND legal_hold)
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
DROP FUNCTION conversations_check_hold(uuid);

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

CREATE OR REPLACE FUNCTION conversations_message_search() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    IF NEW.status = 'streaming' THEN  -- rewritten every second; found once it is finished
        NEW.search := NULL;
        RETURN NEW;
    END IF;
    NEW.search := conversations_search_vector(left(NEW.content, 1000000))
        || array_to_tsvector(ARRAY[
            'conversation=' || NEW.conversation_id,
            'owner=' || NEW.user_id]);
    RETURN NEW;
END
$function$;

-- Others refer to a row by its owner, and shards are found by it.
CREATE FUNCTION conversations_keep_owner() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    RAISE EXCEPTION 'the owner of a row in % does not change', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'owner_immutable';
END
$function$;
""" + "".join(
    f"""
CREATE TRIGGER {table}_keep_owner BEFORE UPDATE OF user_id ON conversations_{table}
    FOR EACH ROW WHEN (OLD.user_id <> NEW.user_id) EXECUTE FUNCTION conversations_keep_owner();"""
    for table in ("conversation", *TABLES, "tombstone")
)
# The keys as they were before. An id stood for one row then, and still does.
BACK = """
DROP FUNCTION conversations_keep_owner() CASCADE;
ALTER TABLE conversations_review DROP CONSTRAINT review_message_fk;
ALTER TABLE conversations_message DROP CONSTRAINT message_conversation_fk;
ALTER TABLE conversations_conversationnote DROP CONSTRAINT conversationnote_conversation_fk;
ALTER TABLE conversations_conversation DROP CONSTRAINT conversation_owner_unique;

ALTER TABLE conversations_message DROP CONSTRAINT conversations_message_pkey,
    DROP CONSTRAINT message_sequence_unique,
    ADD CONSTRAINT conversations_message_pkey PRIMARY KEY (conversation_id, id),
    ADD CONSTRAINT message_sequence_unique UNIQUE (conversation_id, sequence);
DROP INDEX message_one_streaming;
CREATE UNIQUE INDEX message_one_streaming ON conversations_message (conversation_id)
    WHERE status = 'streaming';

ALTER TABLE conversations_conversationnote DROP CONSTRAINT conversations_conversationnote_pkey,
    ADD CONSTRAINT conversations_conversationnote_pkey PRIMARY KEY (id);
DROP INDEX conversationnote_idx;
CREATE INDEX conversationnote_idx ON conversations_conversationnote (conversation_id, created_at);

ALTER TABLE conversations_review DROP CONSTRAINT conversations_review_pkey,
    DROP CONSTRAINT review_unique,
    ADD CONSTRAINT conversations_review_pkey PRIMARY KEY (id),
    ADD CONSTRAINT review_unique UNIQUE (conversation_id, message_id, reviewer_id);
ALTER TABLE conversations_tombstone DROP CONSTRAINT conversations_tombstone_pkey,
    ADD CONSTRAINT conversations_tombstone_pkey PRIMARY KEY (conversation_id, id);

ALTER TABLE conversations_message ALTER user_id DROP NOT NULL;
ALTER TABLE conversations_conversationnote ALTER user_id DROP NOT NULL;
ALTER TABLE conversations_review ALTER user_id DROP NOT NULL;

ALTER TABLE conversations_message ADD CONSTRAINT message_conversation_fk
    FOREIGN KEY (conversation_id) REFERENCES conversations_conversation (id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE conversations_conversationnote ADD CONSTRAINT conversationnote_conversation_fk
    FOREIGN KEY (conversation_id) REFERENCES conversations_conversation (id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE conversations_review ADD CONSTRAINT review_message_fk
    FOREIGN KEY (conversation_id, message_id) REFERENCES conversations_message (conversation_id, id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;

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

DROP FUNCTION conversations_check_hold(integer, uuid);

CREATE OR REPLACE FUNCTION conversations_message_search() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    IF NEW.status = 'streaming' THEN  -- rewritten every second; found once it is finished
        NEW.search := NULL;
        RETURN NEW;
    END IF;
    NEW.search := conversations_search_vector(left(NEW.content, 1000000))
        || array_to_tsvector(ARRAY[
            'conversation=' || NEW.conversation_id,
            'owner=' || (SELECT user_id FROM conversations_conversation
                         WHERE id = NEW.conversation_id)]);
    RETURN NEW;
END
$function$;

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


def key():
    return models.CompositePrimaryKey('user_id', 'conversation_id', 'id', blank=True, editable=False, primary_key=True, serialize=False)


def owner():
    return models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)


def identity():
    return models.UUIDField(default=conversations.models.ids.new_id, editable=False)


STATE = [
    migrations.RemoveConstraint(model_name='message', name='message_sequence_unique'),
    migrations.RemoveConstraint(model_name='message', name='message_one_streaming'),
    migrations.RemoveConstraint(model_name='review', name='review_unique'),
    migrations.RemoveIndex(model_name='conversationnote', name='conversationnote_idx'),
    migrations.AlterField(model_name='message', name='user', field=owner()),
    migrations.AlterField(model_name='message', name='pk', field=key()),
    migrations.AlterField(model_name='conversationnote', name='user', field=owner()),
    migrations.AddField(model_name='conversationnote', name='pk', field=key()),
    migrations.AlterField(model_name='conversationnote', name='id', field=identity()),
    migrations.AlterField(model_name='review', name='user', field=owner()),
    migrations.AddField(model_name='review', name='pk', field=key()),
    migrations.AlterField(model_name='review', name='id', field=identity()),
    migrations.AlterField(model_name='tombstone', name='pk', field=key()),
    migrations.AddIndex(
        model_name='conversationnote',
        index=models.Index(fields=['user', 'conversation', 'created_at'], name='conversationnote_idx'),
    ),
    migrations.AddConstraint(
        model_name='conversation',
        constraint=models.UniqueConstraint(fields=('user', 'id'), name='conversation_owner_unique'),
    ),
    migrations.AddConstraint(
        model_name='message',
        constraint=models.UniqueConstraint(fields=('user', 'conversation', 'sequence'), name='message_sequence_unique'),
    ),
    migrations.AddConstraint(
        model_name='message',
        constraint=models.UniqueConstraint(condition=models.Q(('status', 'streaming')), fields=('user', 'conversation'), name='message_one_streaming'),
    ),
    migrations.AddConstraint(
        model_name='review',
        constraint=models.UniqueConstraint(fields=('user', 'conversation', 'message_id', 'reviewer_id'), name='review_unique'),
    ),
]


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0014_fill_owners'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.SeparateDatabaseAndState([migrations.RunSQL(EXCHANGE, BACK)], STATE),
        # The key begins with the owner now, whom an index of its own is not needed for; but an id
        # that anybody's conversation had is asked for by itself.
        migrations.AlterField(model_name='tombstone', name='user', field=owner()),
        migrations.AddIndex(
            model_name='tombstone',
            index=models.Index(fields=['id'], name='tombstone_id_idx'),
        ),
    ]
