"""Looks at all messages for the constraints of migration 0031: it reads them, and blocks no write."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [('conversations', '0032_import_runs')]

    operations = [
        ValidateConstraint('message', 'message_content_not_empty'),
        ValidateConstraint('message', 'message_emptied_is_empty'),
    ]
