"""Data of earlier releases: usernames for numeric ids, and tokens of django-rest-knox.

- Users created for a number (`user-3` with the primary key 3) are renamed to that number, by which
  clients refer to them. Primary keys do not change.
- The tokens of django-rest-knox are copied to a table of this app with their digests and remain
  valid. Tokens of users with the permission act_for_any_user become trusted.
"""

from django.db import migrations

COPY_TOKENS = """
INSERT INTO conversations_apitoken
    (id, digest, key, user_id, name, trusted, delegated, namespace, created_by, created_at,
        expires_at)
SELECT gen_random_uuid(), token.digest, left(token.token_key, 15), token.user_id, '',
    NOT (person.is_staff OR person.is_superuser) AND EXISTS (
        SELECT FROM auth_permission permission
        JOIN django_content_type kind ON kind.id = permission.content_type_id
        WHERE kind.app_label = 'conversations' AND permission.codename = 'act_for_any_user'
            AND permission.id IN (
                SELECT permission_id FROM auth_user_user_permissions WHERE user_id = person.id
                UNION ALL
                SELECT permission_id FROM auth_group_permissions
                JOIN auth_user_groups USING (group_id) WHERE user_id = person.id
            )
    ), false, '', '', token.created, token.expiry
FROM knox_authtoken token JOIN auth_user person ON person.id = token.user_id
"""


def move_tokens(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        if "knox_authtoken" not in schema_editor.connection.introspection.table_names(cursor):
            return
        cursor.execute(COPY_TOKENS)
        # Its foreign key would prevent the deletion of users who have tokens there.
        cursor.execute("DROP TABLE knox_authtoken")
        cursor.execute("DELETE FROM django_migrations WHERE app = 'knox'")
    kinds = apps.get_model("contenttypes", "ContentType").objects
    kind = kinds.filter(app_label="knox", model="authtoken").first()
    if kind is None:
        return
    # Users and groups keep the right to list and revoke tokens.
    kind.app_label, kind.model = "conversations", "apitoken"
    kind.save()
    for permission in apps.get_model("auth", "Permission").objects.filter(content_type=kind):
        permission.codename = permission.codename.replace("authtoken", "apitoken")
        permission.name = permission.name.replace("auth token", "API token")
        permission.save()


# One statement for all users. A user created for the number 3 was named `user-3-3` if another user
# had the name `user-3`.
NAME_NUMBERED = """
UPDATE auth_user AS person SET username = id::text
WHERE username IN ('user-' || id, 'user-' || id || '-' || id) AND password LIKE '!%'
"""
# The user 12 of an application must not be merged with an account named "12".
AMBIGUOUS = """
SELECT person.username, other.username FROM auth_user person
JOIN auth_user other ON other.username = person.id::text AND other.id <> person.id
WHERE person.username IN ('user-' || person.id, 'user-' || person.id || '-' || person.id)
    AND person.password LIKE '!%'
"""
RENAME_ONE = (
    "Clients know the user {user!r} by the number {number}, and an account is called so. Rename one "
    "of the two, then migrate again."
)


def name_numbered_users(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(AMBIGUOUS)
        if pairs := cursor.fetchall():
            raise RuntimeError(
                " ".join(RENAME_ONE.format(user=user, number=number) for user, number in pairs)
            )
        cursor.execute(NAME_NUMBERED)


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0008_turn_runner'),
        ('auth', '0012_alter_user_first_name_max_length'),
        ('contenttypes', '0002_remove_content_type_name'),
    ]

    operations = [
        migrations.RunPython(name_numbered_users, migrations.RunPython.noop),
        migrations.RunPython(move_tokens, migrations.RunPython.noop),
    ]
