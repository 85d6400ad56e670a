"""Names instead of primary keys, tokens with rights of their own, ids that nobody can foresee.

- Users that were made for a number (`user-3` with the key 3) get that number as their name, which
  is what clients call them from now on.
- The tokens of django-rest-knox move into a table of this app, with the same digests: they stay
  valid. Those of users who could act for any user were all trusted, and stay so.
- Constraints that the database cascades, as in migration 0002.
"""

import conversations.models.ids
import django.db.models.deletion
import django.db.models.lookups
import django.utils.timezone
from django.conf import settings
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.db import migrations, models


COPY_TOKENS = """
INSERT INTO conversations_apitoken
    (id, digest, key, user_id, name, trusted, namespace, created_by, created_at, expires_at)
SELECT gen_random_uuid(), token.digest, left(token.token_key, 15), token.user_id, '',
    NOT (person.is_staff OR person.is_superuser) AND EXISTS (
        SELECT FROM auth_permission permission
        JOIN django_content_type kind ON kind.id = permission.content_type_id
        WHERE kind.app_label = 'conversations' AND permission.codename = 'act_for_any_user'
            AND permission.id IN (
                SELECT permission_id FROM auth_user_user_permissions WHERE user_id = person.id
                UNION ALL
                SELECT permission_id FROM auth_group_permissions
                JOIN auth_user_groups USING (group_id) WHERE user_id = person.id
            )
    ), '', '', token.created, token.expiry
FROM knox_authtoken token JOIN auth_user person ON person.id = token.user_id
"""


def move_tokens(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        if "knox_authtoken" not in schema_editor.connection.introspection.table_names(cursor):
            return
        cursor.execute(COPY_TOKENS)
        # Its foreign key would keep every user who has a row there from being deleted.
        cursor.execute("DROP TABLE knox_authtoken")
        cursor.execute("DELETE FROM django_migrations WHERE app = 'knox'")
    kinds = apps.get_model("contenttypes", "ContentType").objects
    kind = kinds.filter(app_label="knox", model="authtoken").first()
    if kind is None:
        return
    # Whoever could list and revoke tokens still can.
    kind.app_label, kind.model = "conversations", "apitoken"
    kind.save()
    for permission in apps.get_model("auth", "Permission").objects.filter(content_type=kind):
        permission.codename = permission.codename.replace("authtoken", "apitoken")
        permission.name = permission.name.replace("auth token", "API token")
        permission.save()


def name_numbered_users(apps, schema_editor):
    users = apps.get_model("auth", "User").objects
    for user in users.filter(username__startswith="user-", password__startswith=UNUSABLE_PASSWORD_PREFIX):
        number = str(user.pk)
        if user.username == f"user-{number}" and not users.filter(username=number).exists():
            user.username = number
            user.save(update_fields=["username"])


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
        ('auth', '0012_alter_user_first_name_max_length'),
        ('contenttypes', '0002_remove_content_type_name'),
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
        # The keys of users made by a number stay what they are: only names were ever theirs.
        migrations.RunPython(name_numbered_users, migrations.RunPython.noop),
        migrations.RunPython(move_tokens, migrations.RunPython.noop),
    ]
