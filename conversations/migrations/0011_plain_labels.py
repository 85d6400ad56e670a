"""Labels of two permissions, also of those that are stored."""

from django.db import migrations

PERMISSIONS = [
    ("act_for_any_user", "Can write to conversations of any user through the API"),
    ("export_conversation", "Can export conversations"),
    ("archive_conversation", "Can archive and unarchive conversations"),
    ("hold_conversation", "Can place and release legal holds"),
]


def rename_stored(apps, schema_editor):
    """Django creates missing permissions after `migrate`, and leaves the names of existing ones."""
    permissions = apps.get_model("auth", "Permission").objects.filter(
        content_type__app_label="conversations", content_type__model="conversation"
    )
    for codename, name in PERMISSIONS:
        permissions.filter(codename=codename).update(name=name)


class Migration(migrations.Migration):

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("conversations", "0010_name_the_audit_log"),
    ]

    operations = [
        migrations.AlterModelOptions(name="conversation", options={"permissions": PERMISSIONS}),
        migrations.RunPython(rename_stored, migrations.RunPython.noop),
    ]
