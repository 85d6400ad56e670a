"""The position of the last write to each user's data, which reads on a replica wait for.

The foreign key is one that the database cascades, as in migration 0002. Rows are updated in place
where a page has room.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


TABLE = """
ALTER TABLE conversations_writeposition SET (fillfactor = 50);
ALTER TABLE conversations_writeposition ADD CONSTRAINT writeposition_user_fk
    FOREIGN KEY (user_id) REFERENCES auth_user (id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
"""
NO_TABLE = "ALTER TABLE conversations_writeposition DROP CONSTRAINT writeposition_user_fk;"


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0019_message_details'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='WritePosition',
            fields=[
                ('user', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='+', serialize=False, to=settings.AUTH_USER_MODEL)),
                ('position', models.BigIntegerField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.RunSQL(TABLE, NO_TABLE),
    ]
