"""Notes, permissions and filter indexes for staff, and an immutable audit log.

The indexes are built while the table is locked against writes: about a minute for ten million
messages. A trigger prevents changes of the audit log by the admin and by scripts; to change it, an
operator has to disable the trigger with `ALTER TABLE … DISABLE TRIGGER`.
"""


import conversations.models.ids
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


NOTES = """
ALTER TABLE conversations_conversationnote ADD CONSTRAINT conversationnote_conversation_fk
    FOREIGN KEY (conversation_id) REFERENCES conversations_conversation (id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
"""
NO_NOTES = """
ALTER TABLE conversations_conversationnote DROP CONSTRAINT conversationnote_conversation_fk;
"""

TRAIL = """
CREATE FUNCTION conversations_trail_stays() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    RAISE EXCEPTION 'access records are neither changed nor deleted'
        USING ERRCODE = 'restrict_violation';
END
$function$;
CREATE TRIGGER accessrecord_stays BEFORE UPDATE OR DELETE ON conversations_accessrecord
    FOR EACH ROW EXECUTE FUNCTION conversations_trail_stays();
"""
NO_TRAIL = """
DROP TRIGGER accessrecord_stays ON conversations_accessrecord;
DROP FUNCTION conversations_trail_stays();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0003_search'),
    ]

    operations = [
        migrations.CreateModel(
            name='ConversationNote',
            fields=[
                ('id', models.UUIDField(default=conversations.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('author_id', models.BigIntegerField(blank=True, null=True)),
                ('author_name', models.CharField(max_length=150)),
                ('text', models.TextField()),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
        migrations.AlterModelOptions(
            name='conversation',
            options={'permissions': [('act_for_any_user', 'Can read and write conversations of any user over the API'), ('export_conversation', 'Can export conversations'), ('archive_conversation', 'Can put conversations away and bring them back'), ('hold_conversation', 'Can place and release legal holds')]},
        ),
        migrations.AlterModelOptions(
            name='message',
            options={'permissions': [('rate_message', 'Can rate answers')]},
        ),
        migrations.RemoveConstraint(
            model_name='accessrecord',
            name='accessrecord_action_known',
        ),
        migrations.AlterField(
            model_name='accessrecord',
            name='action',
            field=models.CharField(choices=[('read', 'Read'), ('search', 'Search'), ('export', 'Export'), ('delete', 'Delete'), ('hold', 'Hold')], max_length=6),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('status', 'complete'), _negated=True), fields=['status', '-created_at'], name='message_unfinished_idx'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('detected_mode__isnull', False)), fields=['detected_mode', '-created_at'], name='message_mode_idx'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('role', 'assistant')), fields=['provider', 'model', '-created_at'], name='message_answers_idx'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=django.contrib.postgres.indexes.GinIndex(condition=models.Q(('tool_calls__isnull', False)), fields=['tool_calls'], name='message_tool_calls_idx', opclasses=['jsonb_path_ops']),
        ),
        migrations.AddConstraint(
            model_name='accessrecord',
            constraint=models.CheckConstraint(condition=models.Q(('action__in', ['read', 'search', 'export', 'delete', 'hold'])), name='accessrecord_action_known'),
        ),
        migrations.AddField(
            model_name='conversationnote',
            name='conversation',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='notes', to='conversations.conversation'),
        ),
        migrations.AddIndex(
            model_name='conversationnote',
            index=models.Index(fields=['conversation', 'created_at'], name='conversationnote_idx'),
        ),
        migrations.AddConstraint(
            model_name='conversationnote',
            constraint=models.CheckConstraint(condition=models.Q(('text', ''), _negated=True), name='conversationnote_text_not_empty'),
        ),
        migrations.RunSQL(NOTES, NO_NOTES),
        migrations.RunSQL(TRAIL, NO_TRAIL),
    ]
