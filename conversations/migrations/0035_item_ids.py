"""An index of the ids that items were sent with, built while others read and write."""

import django.db.models.fields.json
import django.db.models.functions.comparison
import django.db.models.functions.text
import django.db.models.lookups
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

SENT_ITEM_ID = django.db.models.functions.text.Left(
    django.db.models.functions.comparison.Coalesce(
        django.db.models.fields.json.KeyTextTransform('id', 'extra'),
        django.db.models.fields.json.KeyTextTransform(
            'id', django.db.models.fields.json.KeyTransform('0', 'parts')
        ),
    ),
    255,
)


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('conversations', '0034_import_run_report'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='message',
            index=models.Index(
                models.F('user'),
                models.F('conversation'),
                SENT_ITEM_ID,
                models.F('sequence'),
                condition=models.Q(django.db.models.lookups.IsNull(SENT_ITEM_ID, False)),
                name='message_item_id_idx',
            ),
        ),
    ]
