"""Indexes for sorting and filtering the admin's list, and a tsvector without phrase matches across
the boundary of its two parts.

The indexes are built while the tables are locked against writes: seconds for a million messages.
Stored rows keep their tsvectors until they are updated.
"""

from django.conf import settings
from django.db import migrations, models

# The stemmed words are followed by the exact ones. A lexeme that is inserted between them and deleted
# again leaves a gap in the positions.
SEARCH_VECTOR = """
CREATE OR REPLACE FUNCTION conversations_search_vector(content text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $function$
DECLARE
    folded text := conversations_fold(content);
BEGIN
    IF length(folded) < 100000 THEN  -- cannot reach the limit; no subtransaction needed
        RETURN ts_delete(
            to_tsvector('pg_catalog.english', folded) || $$' ':100$$::tsvector
            || to_tsvector('pg_catalog.simple', folded), ' ');
    END IF;
    BEGIN
        RETURN ts_delete(
            to_tsvector('pg_catalog.english', folded) || $$' ':100$$::tsvector
            || to_tsvector('pg_catalog.simple', folded), ' ');
    EXCEPTION WHEN program_limit_exceeded THEN
        RETURN conversations_search_vector(left(content, length(content) / 2));
    END;
END
$function$;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0004_staff'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='message',
            name='message_rated_idx',
        ),
        migrations.RemoveIndex(
            model_name='message',
            name='message_unfinished_idx',
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(fields=['created_at', 'id'], name='conversation_created_idx'),
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(fields=['message_count', 'id'], name='conversation_length_idx'),
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(fields=['title', 'id'], name='conversation_title_idx'),
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(fields=['model_used', 'id'], name='conversation_model_idx'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('rating__isnull', False)), fields=['conversation'], include=('rating',), name='message_rated_idx'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('status', 'complete'), _negated=True), fields=['status', '-created_at'], include=('conversation',), name='message_unfinished_idx'),
        ),
        # Reversing keeps the stored tsvectors, which differ from earlier ones only by that gap.
        migrations.RunSQL(SEARCH_VECTOR, migrations.RunSQL.noop),
    ]
