"""The counts of turns of which nothing else is stored, keyed by their owner."""

import conversations.models.ids
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

TABLE = """
ALTER TABLE conversations_unstoredturn ADD CONSTRAINT unstoredturn_user_fk
    FOREIGN KEY (user_id) REFERENCES auth_user (id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
CREATE TRIGGER unstoredturn_keep_owner BEFORE UPDATE OF user_id ON conversations_unstoredturn
    FOR EACH ROW WHEN (OLD.user_id <> NEW.user_id) EXECUTE FUNCTION conversations_keep_owner();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0023_messages_by_time'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='UnstoredTurn',
            fields=[
                ('pk', models.CompositePrimaryKey('user_id', 'id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('id', models.UUIDField(default=conversations.models.ids.new_id, editable=False)),
                ('provider', models.CharField(max_length=100)),
                ('model', models.CharField(max_length=255)),
                ('status', models.CharField(choices=[('complete', 'Complete'), ('streaming', 'Streaming'), ('stopped', 'Stopped'), ('interrupted', 'Interrupted'), ('failed', 'Failed')], max_length=11)),
                ('finish_reason', models.CharField(max_length=50, null=True)),
                ('prompt_tokens', models.PositiveBigIntegerField(null=True)),
                ('completion_tokens', models.PositiveBigIntegerField(null=True)),
                ('cached_tokens', models.PositiveBigIntegerField(null=True)),
                ('reasoning_tokens', models.PositiveBigIntegerField(null=True)),
                ('cost', models.DecimalField(decimal_places=12, max_digits=20, null=True)),
                ('latency_ms', models.PositiveIntegerField(null=True)),
                ('first_token_ms', models.PositiveIntegerField(null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('user', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['created_at'], name='unstoredturn_created_idx')],
            },
        ),
        migrations.RunSQL(TABLE, migrations.RunSQL.noop),
    ]
