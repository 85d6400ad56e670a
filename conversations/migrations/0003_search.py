"""Full-text search: tsvector columns, maintained by the database, with GIN indexes.

No model has these columns, so that the ORM neither reads nor writes them.
`selectors/search_sql.py` has the queries.

- Text is indexed twice: by English stems and by exact words.
- Accents are removed. Chinese, Japanese and Korean text, which has no spaces between words, is
  indexed by bigrams.
- The owner and the conversation are lexemes of the tsvector too: the index restricts a search to
  one of them, whose cost does not depend on the conversations of other users.
- A tsvector has at most 1 MB, so a longer text is truncated.
"""

from django.db import migrations, models

# Hiragana, katakana, unified ideographs and their extensions, compatibility ones, Hangul.
CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"

FUNCTIONS = rf"""
CREATE FUNCTION conversations_fold(content text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $function$
DECLARE
    runs text;
BEGIN
    IF content !~ '[^\x01-\x7f]' THEN
        RETURN content;
    END IF;
    content := normalize(
        regexp_replace(normalize(content, NFKD), '[\u0300-\u036f]+', '', 'g'), NFC);
    content := translate(content, '“”‘’«»‹›…—–·', '            ');
    IF content !~ '[{CJK}]' THEN
        RETURN content;
    END IF;
    runs := regexp_replace(content, '[^{CJK}]+', ' ', 'g');
    RETURN regexp_replace(content, '[{CJK}\u3000-\u303f\uff00-\uffef]+', ' ', 'g')
        || ' ' || regexp_replace(runs, '([{CJK}][{CJK}])', '\1 ', 'g')
        || ' ' || regexp_replace(
            regexp_replace(runs, '(^| )[{CJK}]', '\1', 'g'),
            '([{CJK}][{CJK}])', '\1 ', 'g');
END
$function$;

CREATE FUNCTION conversations_search_vector(content text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $function$
DECLARE
    folded text := conversations_fold(content);
BEGIN
    IF length(folded) < 100000 THEN  -- cannot reach the limit; no subtransaction needed
        RETURN to_tsvector('pg_catalog.english', folded)
            || to_tsvector('pg_catalog.simple', folded);
    END IF;
    BEGIN
        RETURN to_tsvector('pg_catalog.english', folded)
            || to_tsvector('pg_catalog.simple', folded);
    EXCEPTION WHEN program_limit_exceeded THEN
        RETURN conversations_search_vector(left(content, length(content) / 2));
    END;
END
$function$;

CREATE FUNCTION conversations_search_term(term text, phrase boolean) RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $function$
DECLARE
    folded text := conversations_fold(term);
    stemmed tsquery := CASE WHEN phrase THEN phraseto_tsquery('pg_catalog.english', folded)
                            ELSE plainto_tsquery('pg_catalog.english', folded) END;
BEGIN
    IF numnode(stemmed) = 0 THEN  -- nothing but stop words
        RETURN stemmed;
    END IF;
    RETURN stemmed || CASE WHEN phrase THEN phraseto_tsquery('pg_catalog.simple', folded)
                           ELSE plainto_tsquery('pg_catalog.simple', folded) END;
END
$function$;

CREATE FUNCTION conversations_message_search() RETURNS trigger
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

CREATE FUNCTION conversations_conversation_search() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    NEW.search := conversations_search_vector(NEW.title)
        || array_to_tsvector(ARRAY['conversation=' || NEW.id, 'owner=' || NEW.user_id]);
    RETURN NEW;
END
$function$;
"""

BACKFILL = """
UPDATE conversations_message SET search = conversations_search_vector(left(content, 1000000))
    || array_to_tsvector(ARRAY['conversation=' || conversation_id, 'owner=' || user_id])
    FROM conversations_conversation owned WHERE owned.id = conversation_id
    AND status <> 'streaming';
UPDATE conversations_conversation SET search = conversations_search_vector(title)
    || array_to_tsvector(ARRAY['conversation=' || id, 'owner=' || user_id]);
"""

TABLES = f"""
ALTER TABLE conversations_message ADD COLUMN search tsvector;
ALTER TABLE conversations_conversation ADD COLUMN search tsvector;

CREATE TRIGGER message_search_insert BEFORE INSERT ON conversations_message
    FOR EACH ROW EXECUTE FUNCTION conversations_message_search();
CREATE TRIGGER message_search_update BEFORE UPDATE OF content, status ON conversations_message
    FOR EACH ROW WHEN (OLD.content IS DISTINCT FROM NEW.content OR OLD.status <> NEW.status)
    EXECUTE FUNCTION conversations_message_search();
CREATE TRIGGER conversation_search_insert BEFORE INSERT ON conversations_conversation
    FOR EACH ROW EXECUTE FUNCTION conversations_conversation_search();
CREATE TRIGGER conversation_search_update BEFORE UPDATE ON conversations_conversation
    FOR EACH ROW WHEN (OLD.title <> NEW.title OR OLD.user_id <> NEW.user_id)
    EXECUTE FUNCTION conversations_conversation_search();

{BACKFILL}
CREATE INDEX message_search_idx ON conversations_message USING gin (search);
CREATE INDEX conversation_search_idx ON conversations_conversation USING gin (search);
"""

REMOVE = """
DROP TRIGGER message_search_insert ON conversations_message;
DROP TRIGGER message_search_update ON conversations_message;
DROP TRIGGER conversation_search_insert ON conversations_conversation;
DROP TRIGGER conversation_search_update ON conversations_conversation;
ALTER TABLE conversations_message DROP COLUMN search;
ALTER TABLE conversations_conversation DROP COLUMN search;
DROP FUNCTION conversations_message_search();
DROP FUNCTION conversations_conversation_search();
DROP FUNCTION conversations_search_term(text, boolean);
DROP FUNCTION conversations_search_vector(text);
DROP FUNCTION conversations_fold(text);
"""


class Migration(migrations.Migration):
    dependencies = [("conversations", "0002_cascade_in_the_database")]
    operations = [
        migrations.RunSQL([FUNCTIONS, TABLES], REMOVE),
        migrations.AddIndex(
            "conversation",
            models.Index(fields=["user", "-created_at", "-id"], name="conversation_user_created_idx"),
        ),
        migrations.AddIndex(
            "message",
            models.Index(
                fields=["conversation"],
                condition=models.Q(rating__isnull=False),
                name="message_rated_idx",
            ),
        ),
    ]
