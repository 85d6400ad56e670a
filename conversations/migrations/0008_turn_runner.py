"""Move the process that runs an answer from `metadata`, which belongs to clients, to a column."""

from django.db import migrations, models

TO_COLUMN = """
UPDATE conversations_message
SET runner = left(metadata ->> 'runner', 32), metadata = metadata - 'runner'
WHERE status = 'streaming' AND jsonb_typeof(metadata -> 'runner') = 'string';
"""
TO_METADATA = """
UPDATE conversations_message
SET metadata = metadata || jsonb_build_object('runner', runner)
WHERE status = 'streaming' AND runner IS NOT NULL;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0007_legal_hold'),
    ]

    operations = [
        migrations.AddField(
            model_name='message',
            name='runner',
            field=models.CharField(blank=True, editable=False, max_length=32, null=True),
        ),
        migrations.RunSQL(TO_COLUMN, TO_METADATA),
    ]
