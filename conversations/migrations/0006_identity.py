"""API tokens with their own rights, unpredictable ids, and reviews of staff.

The foreign keys have ON DELETE CASCADE, as in migration 0002.
"""

import conversations.models.ids
import django.db.models.deletion
import django.db.models.lookups
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


FOREIGN_KEYS = """
ALTER TABLE conversations_review ADD CONSTRAINT review_message_fk
    FOREIGN KEY (conversation_id, message_id) REFERENCES conversations_message (conversation_id, id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE conversations_apitoken ADD CONSTRAINT apitoken_user_fk
    FOREIGN KEY (user_id) REFERENCES auth_user (id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE conversations_tombstone ADD CONSTRAINT tombstone_user_fk
    FOREIGN KEY (user_id) REFERENCES auth_user (id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
"""
NO_FOREIGN_KEYS = """
ALTER TABLE conversations_apitoken DROP CONSTRAINT apitoken_user_fk;
ALTER TABLE conversations_review DROP CONSTRAINT review_message_fk;
ALTER TABLE conversations_tombstone DROP CONSTRAINT tombstone_user_fk;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0005_sorted_lists'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ApiToken',
            fields=[
                ('id', models.UUIDField(default=conversations.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('digest', models.CharField(editable=False, max_length=128)),
                ('key', models.CharField(editable=False, max_length=15)),
                ('name', models.CharField(blank=True, default='', max_length=100)),
                ('trusted', models.BooleanField(default=False)),
                ('namespace', models.CharField(blank=True, default='', max_length=32)),
                ('delegated', models.BooleanField(default=False)),
                ('created_by', models.CharField(blank=True, default='', max_length=150)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                'verbose_name': 'API token',
            },
        ),
        migrations.CreateModel(
            name='InstallationSecret',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('value', models.BinaryField(max_length=32)),
            ],
        ),
        migrations.CreateModel(
            name='Review',
            fields=[
                ('id', models.UUIDField(default=conversations.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('message_id', models.UUIDField()),
                ('reviewer_id', models.BigIntegerField()),
                ('reviewer_name', models.CharField(max_length=150)),
                ('score', models.SmallIntegerField()),
                ('labels', models.JSONField(blank=True, default=list)),
                ('comment', models.TextField(blank=True, default='')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
        migrations.CreateModel(
            name='Tombstone',
            fields=[
                ('pk', models.CompositePrimaryKey('conversation_id', 'id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('conversation_id', models.UUIDField()),
                ('id', models.UUIDField()),
                ('deleted_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
        migrations.AlterModelOptions(
            name='conversation',
            options={'permissions': [('act_for_any_user', 'Can write in conversations of any user over the API'), ('export_conversation', 'Can export conversations'), ('archive_conversation', 'Can put conversations away and bring them back'), ('hold_conversation', 'Can place and release legal holds')]},
        ),
        migrations.RemoveConstraint(
            model_name='accessrecord',
            name='accessrecord_action_known',
        ),
        migrations.AlterField(
            model_name='accessrecord',
            name='action',
            field=models.CharField(choices=[('read', 'Read'), ('search', 'Search'), ('export', 'Export'), ('change', 'Change'), ('delete', 'Delete'), ('hold', 'Hold')], max_length=6),
        ),
        migrations.AddConstraint(
            model_name='accessrecord',
            constraint=models.CheckConstraint(condition=models.Q(('action__in', ['read', 'search', 'export', 'change', 'delete', 'hold'])), name='accessrecord_action_known'),
        ),
        migrations.AddField(
            model_name='apitoken',
            name='user',
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='api_tokens', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='installationsecret',
            constraint=models.CheckConstraint(condition=models.Q(('id', 1)), name='installationsecret_one_row'),
        ),
        migrations.AddField(
            model_name='review',
            name='conversation',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='reviews', to='conversations.conversation'),
        ),
        migrations.AddField(
            model_name='tombstone',
            name='user',
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='apitoken',
            index=models.Index(fields=['-created_at', '-id'], name='apitoken_created_idx'),
        ),
        migrations.AddConstraint(
            model_name='apitoken',
            constraint=models.UniqueConstraint(fields=('digest',), name='apitoken_digest_unique'),
        ),
        migrations.AddConstraint(
            model_name='apitoken',
            constraint=models.UniqueConstraint(fields=('key',), name='apitoken_key_unique'),
        ),
        migrations.AddConstraint(
            model_name='apitoken',
            constraint=models.CheckConstraint(condition=models.Q(('digest', ''), _negated=True), name='apitoken_digest_not_empty'),
        ),
        migrations.AddConstraint(
            model_name='review',
            constraint=models.UniqueConstraint(fields=('conversation', 'message_id', 'reviewer_id'), name='review_unique'),
        ),
        migrations.AddConstraint(
            model_name='review',
            constraint=models.CheckConstraint(condition=models.Q(('score__in', [-1, 1])), name='review_score_known'),
        ),
        migrations.AddConstraint(
            model_name='review',
            constraint=models.CheckConstraint(condition=models.Q(django.db.models.lookups.Exact(models.Func('labels', function='jsonb_typeof', output_field=models.CharField()), 'array')), name='review_labels_is_array'),
        ),
        migrations.RunSQL(FOREIGN_KEYS, NO_FOREIGN_KEYS),
    ]
