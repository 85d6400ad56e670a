"""Tickets for event streams, which go with the token that they stand for."""

import django.db.models.deletion
from django.db import migrations, models

TOKEN = """
ALTER TABLE conversations_streamticket ADD CONSTRAINT streamticket_token_fk
    FOREIGN KEY (token_id) REFERENCES conversations_apitoken (id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
"""


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0024_unstored_turns'),
    ]

    operations = [
        migrations.CreateModel(
            name='StreamTicket',
            fields=[
                ('digest', models.CharField(editable=False, max_length=128, primary_key=True, serialize=False)),
                ('purpose', models.CharField(choices=[('stream', 'Stream'), ('ask-stream', 'Ask Stream')], max_length=10)),
                ('message_id', models.UUIDField(null=True)),
                ('expires_at', models.DateTimeField()),
                ('token', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='conversations.apitoken')),
            ],
            options={
                'indexes': [models.Index(fields=['expires_at'], name='streamticket_expires_idx')],
                'constraints': [models.CheckConstraint(condition=models.Q(('purpose__in', ['stream', 'ask-stream'])), name='streamticket_purpose_known')],
            },
        ),
        migrations.RunSQL(TOKEN, "ALTER TABLE conversations_streamticket DROP CONSTRAINT streamticket_token_fk"),
    ]
