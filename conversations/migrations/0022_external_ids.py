"""An index for look-ups by external id over all owners; within one, the unique key serves."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0021_changes'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(condition=models.Q(('external_id__isnull', False)), fields=['external_id'], name='conversation_external_id_idx'),
        ),
    ]
