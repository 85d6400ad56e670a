"""Whose token a request has: the token, its user and their rights, as one statement that each
session plans once."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from conversations.db.functions import DatabaseFunction
from conversations.db.write_positions import PRIMARY_COLUMNS

# The columns of the user that a request may need, in the model's order; the password hash
# stays where it is.
USER_COLUMNS = ("id", "is_superuser", "username", "is_staff", "is_active")


class TokenHolder(NamedTuple):
    """A token with its user, of whom `user` has USER_COLUMNS, and the rights of staff that reach
    beyond one's own conversations.

    `wal_file`, `lsn` and `kept_lsn` are the arguments of `write_positions.required`, None unless
    they were asked for.
    """

    token_id: UUID
    expires_at: datetime | None
    last_used_at: datetime | None
    trusted: bool
    delegated: bool
    namespace: str
    rights: list[str]
    wal_file: str | None
    lsn: int | None
    kept_lsn: int | None
    user: tuple[int, bool, str, bool, bool]


# Django's permission backend would take three statements more. Nobody but staff is asked for
# their rights.
TOKEN = DatabaseFunction(
    "token",
    arguments=["given text", "with_position boolean"],
    returns="""TABLE (
        token_id uuid, expires_at timestamptz, last_used_at timestamptz, trusted boolean,
        delegated boolean, namespace text, rights text[], wal_file text, lsn bigint,
        kept_lsn bigint, id integer, is_superuser boolean, username varchar, is_staff boolean,
        is_active boolean)""",
    body=f"""
BEGIN
    IF with_position THEN
        SELECT {PRIMARY_COLUMNS} INTO wal_file, lsn;
    END IF;
    RETURN QUERY SELECT token.id, token.expires_at, token.last_used_at, token.trusted,
        token.delegated, token.namespace::text, ARRAY(
            SELECT permission.codename::text
            FROM auth_permission permission
            JOIN django_content_type kind ON kind.id = permission.content_type_id
            WHERE person.is_staff AND kind.app_label = 'conversations' AND permission.codename
                IN ('act_for_any_user', 'view_conversation', 'view_message')
                AND permission.id IN (
                    SELECT permission_id FROM auth_user_user_permissions
                    WHERE user_id = person.id
                    UNION ALL
                    SELECT permission_id FROM auth_group_permissions
                    JOIN auth_user_groups USING (group_id) WHERE user_id = person.id)),
        wal_file, lsn, CASE WHEN with_position THEN (
            SELECT kept.position FROM conversations_writeposition kept
            WHERE kept.user_id = person.id) END,
        {", ".join(f"person.{column}" for column in USER_COLUMNS)}
    FROM conversations_apitoken token JOIN auth_user person ON person.id = token.user_id
    WHERE token.digest = given;
END
""",  # noqa: S608 (no value comes from outside)
    on_primary=True,
)


def find_token_holder(digest: str, *, with_position: bool = False) -> TokenHolder | None:
    """The token with this digest, whether it is still valid or not. Never read on a replica."""
    for row in TOKEN.rows(digest, with_position):
        about = len(row) - len(USER_COLUMNS)
        return TokenHolder._make((*row[:about], row[about:]))
    return None
