"""Create, list and revoke API tokens, of which only a hash is stored."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.utils import timezone

from conversations.models import AccessContext, ApiToken
from conversations.models.api_token import KEY_CHARS
from conversations.models.user_names import namespace_of
from conversations.services.errors import InvalidValue, NotFound
from conversations.services.users import check_namespace
from conversations.services.validators import check_text

TOKEN_BYTES = 32
# A hundred years: dates after the year 9999 cannot be stored.
MAX_DAYS = 36_500
# The lifetime of a token that a trusted client creates for a user.
MIN_SECONDS, MAX_SECONDS = 60, 7 * 24 * 3600
MAX_NAME_CHARS = 100

DAYS_OUT_OF_RANGE = f"The validity of a token is 1 to {MAX_DAYS:,} days."
NO_SUCH_TOKEN = "You have no such token."
DEACTIVATED_USER = "This user is deactivated, so a token would not be accepted."
LONG_NAME = f"Longer than {MAX_NAME_CHARS} characters."
NAMESPACE_WITHOUT_TRUST = "A namespace requires a trusted token."


def create_token(
    *,
    user: User,
    access: AccessContext,
    name: str = "",
    trusted: bool = False,
    delegated: bool = False,
    namespace: str = "",
    lifetime: timedelta | None = None,
) -> tuple[ApiToken, str]:
    """Create a token; returns its row, and the token itself, which is not stored.

    A `trusted` token acts for the users of `namespace` ("": those without one). Other tokens of a
    user in a namespace get that namespace, so that their user has the same name. A `delegated`
    token never has staff rights. `lifetime` None means the setting TOKEN_DAYS; a token expires no
    later than the one with which it is created. Raises InvalidValue. The caller of this function
    checks the right to create such a token.
    """
    if not user.is_active:
        raise InvalidValue(DEACTIVATED_USER, field="user_id")
    check_text("name", name)
    if len(name) > MAX_NAME_CHARS:
        raise InvalidValue(LONG_NAME, field="name", code="max_length")
    check_namespace(namespace)
    text = secrets.token_hex(TOKEN_BYTES)
    row = ApiToken.objects.create(
        digest=digest_of(text),
        key=text[:KEY_CHARS],
        user=user,
        name=name,
        trusted=trusted,
        delegated=delegated,
        namespace=namespace or ("" if trusted else namespace_of(user.username)),
        created_by=access.caller.user.username if access.caller else "manage.py",
        expires_at=_end_of(lifetime, access),
    )
    return row, text


def _end_of(lifetime: timedelta | None, access: AccessContext) -> datetime:
    """No later than the expiry of the caller's token: a stolen short-lived token must not be
    exchanged for a long-lived one."""
    end = timezone.now() + (lifetime or timedelta(days=settings.TOKEN_DAYS))
    limit = access.caller.expires_at if access.caller else None
    return end if limit is None else min(end, limit)


def digest_of(token: str) -> str:
    """The SHA-512 of a token; 256 random bits need neither a salt nor a slow hash."""
    return hashlib.sha512(token.encode()).hexdigest()


def lifetime_of(days: int | None) -> timedelta | None:
    """A number of days as a lifetime; None stays None. Raises InvalidValue if out of range."""
    if days is None:
        return None
    if not 1 <= days <= MAX_DAYS:
        raise InvalidValue(DAYS_OUT_OF_RANGE, field="days")
    return timedelta(days=days)


def tokens_of(user: User) -> list[ApiToken]:
    """The user's tokens that have not expired, newest first."""
    return list(valid_tokens().filter(user=user))


def valid_tokens() -> QuerySet[ApiToken]:
    """All tokens that have not expired, newest first, with their users loaded."""
    not_expired = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    return (
        ApiToken.objects.filter(not_expired).select_related("user").order_by("-created_at", "-id")
    )


def revoke_token(*, key: str, user: User | None = None) -> ApiToken:
    """Delete the token with this `key` (its first characters), of this user or (None) of any.

    Returns the deleted row. Raises InvalidValue, NotFound.
    """
    check_text("token_id", key)
    tokens = ApiToken.objects.select_related("user").filter(key=key)
    found = (tokens if user is None else tokens.filter(user=user)).first()
    if found is None:
        raise NotFound(NO_SUCH_TOKEN)
    found.delete()
    return found


def mark_used(token_id: uuid.UUID, at: datetime) -> None:
    """Set `last_used_at`. The caller limits how often this is done."""
    ApiToken.objects.filter(pk=token_id).update(last_used_at=at)
