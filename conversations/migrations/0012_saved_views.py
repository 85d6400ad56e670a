"""Saved views of the lists of the admin.

The foreign key is one that the database cascades, as in migration 0002.
"""

import conversations.models.ids
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


FOREIGN_KEY = """
ALTER TABLE conversations_savedview ADD CONSTRAINT savedview_user_fk
    FOREIGN KEY (user_id) REFERENCES auth_user (id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
"""
NO_FOREIGN_KEY = "ALTER TABLE conversations_savedview DROP CONSTRAINT savedview_user_fk;"


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0011_plain_labels'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='SavedView',
            fields=[
                ('id', models.UUIDField(default=conversations.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('page', models.CharField(max_length=100)),
                ('name', models.CharField(max_length=60)),
                ('query', models.TextField()),
                ('user', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('user', 'page', 'name'), name='savedview_name_unique'), models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='savedview_name_not_empty')],
            },
        ),
        migrations.RunSQL(FOREIGN_KEY, NO_FOREIGN_KEY),
    ]
