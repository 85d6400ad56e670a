"""Whose token a request has: the token, its user and their rights, as one statement that each
session plans once."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

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
    user: list[Any]
    wal_file: str | None = None
    lsn: int | None = None
    kept_lsn: int | None = None


# Django's permission backend would take three statements more. Nobody but staff is asked for
# their rights. One value: each column of a result would cost more than its text here.
TOKEN = DatabaseFunction(
    "token",
    arguments=["given text", "with_position boolean"],
    returns="text",
    body=f"""
DECLARE
    holder record;
    rights text[] := '{{}}';
    log_position json;
BEGIN
    SELECT token.id AS token_id, token.expires_at, token.last_used_at, token.trusted,
        token.delegated, token.namespace, {", ".join(f"person.{column}" for column in USER_COLUMNS)}
    INTO holder
    FROM conversations_apitoken token JOIN auth_user person ON person.id = token.user_id
    WHERE token.digest = given;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF holder.is_staff THEN
        rights := ARRAY(
            SELECT permission.codename
            FROM auth_permission permission
            JOIN django_content_type kind ON kind.id = permission.content_type_id
            WHERE kind.app_label = 'conversations' AND permission.codename
                IN ('act_for_any_user', 'view_conversation', 'view_message')
                AND permission.id IN (
                    SELECT permission_id FROM auth_user_user_permissions WHERE user_id = holder.id
                    UNION ALL
                    SELECT permission_id FROM auth_group_permissions
                    JOIN auth_user_groups USING (group_id) WHERE user_id = holder.id));
    END IF;
    IF with_position THEN
        SELECT row_to_json(now) INTO log_position FROM (
            SELECT here.*, (
                SELECT kept.position FROM conversations_writeposition kept
                WHERE kept.user_id = holder.id) AS kept_lsn
            FROM (SELECT {PRIMARY_COLUMNS}) AS here (wal_file, lsn)) AS now;
    END IF;
    RETURN json_build_array(row_to_json(holder), rights, log_position);
END
""",  # noqa: S608 (no value comes from outside)
    on_primary=True,
)


def find_token_holder(digest: str, *, with_position: bool = False) -> TokenHolder | None:
    """The token with this digest, whether it is still valid or not. Never read on a replica."""
    text = TOKEN.value(digest, with_position)
    if text is None:
        return None
    holder, rights, position = orjson.loads(text)
    return TokenHolder(
        token_id=UUID(holder["token_id"]),
        expires_at=_time(holder["expires_at"]),
        last_used_at=_time(holder["last_used_at"]),
        trusted=holder["trusted"],
        delegated=holder["delegated"],
        namespace=holder["namespace"],
        rights=rights,
        user=[holder[column] for column in USER_COLUMNS],
        **position or {},
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
