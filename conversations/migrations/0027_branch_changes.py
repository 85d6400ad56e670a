"""The feed of changes tells also which branch a conversation shows, and how many it has."""

from django.db import migrations

# What clients see of a conversation beside what an append writes.
SEEN = ('title', 'model_used', 'metadata', 'external_id', 'tags', 'pinned', 'archived_at', 'created_at')
OF_BRANCHES = ('active_branch', 'branch_count', 'forked_from')


def compared(names):
    """The function of migration 0021, which compares these columns."""
    old, new = (", ".join(f"{row}.{name}" for name in names) for row in ("OLD", "NEW"))
    return FUNCTION.replace("@OLD", old).replace("@NEW", new)


FUNCTION = """
DO $do$
BEGIN
    EXECUTE replace($functions$

CREATE OR REPLACE FUNCTION conversations_note_update() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    IF NEW.last_sequence > OLD.last_sequence THEN
        INSERT INTO @.conversations_pendingchange
            (user_id, conversation_id, kind, first_sequence, last_sequence, created_at)
        VALUES (NEW.user_id, NEW.id, 'message.created', OLD.last_sequence + 1, NEW.last_sequence,
            clock_timestamp());
    END IF;
    IF (@OLD) IS DISTINCT FROM (@NEW) THEN
        INSERT INTO @.conversations_pendingchange (user_id, conversation_id, kind, created_at)
        VALUES (NEW.user_id, NEW.id, 'conversation.changed', clock_timestamp());
    END IF;
    RETURN NULL;
END
$function$

    $functions$, '@', quote_ident(current_schema()));
END
$do$;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0026_branches'),
    ]

    operations = [
        migrations.RunSQL(compared([*SEEN, *OF_BRANCHES]), compared(SEEN)),
    ]
