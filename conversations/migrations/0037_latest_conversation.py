"""An index of each owner's conversations that are not archived, built while others read and write."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('conversations', '0036_streaming_by_branch'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='conversation',
            index=models.Index(
                fields=['user', '-updated_at', '-id'],
                condition=models.Q(('archived_at', None)),
                name='conversation_latest_idx',
            ),
        ),
    ]
