"""API tokens: made here, shown once, stored only as a hash, with rights of their own."""

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
from conversations.models.user_names import MAX_NAMESPACE_CHARS, is_namespace, namespace_of
from conversations.services.errors import InvalidValue, NotFound
from conversations.services.validators import check_text

TOKEN_BYTES = 32
# A hundred years: dates beyond year 9999 cannot be stored.
LARGEST_DAYS = 36_500
# What an application may hand to a browser.
SHORTEST_SECONDS, LONGEST_SECONDS = 60, 7 * 24 * 3600
MAX_NAME_CHARS = 100

DAYS_OUT_OF_RANGE = f"A token is valid for 1 to {LARGEST_DAYS:,} days."
NO_SUCH_TOKEN = "You have no such token."
DEACTIVATED_USER = "This user is deactivated: their token would open nothing."
LONG_NAME = f"Longer than {MAX_NAME_CHARS} characters."
BAD_NAMESPACE = (
    f"A namespace has at most {MAX_NAMESPACE_CHARS} lower-case ASCII letters, digits, `.`, `_` "
    "and `-`, and begins with a letter or digit."
)
NAMESPACE_WITHOUT_TRUST = "Only a trusted token acts for the users of a namespace."


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
    """A token of this user: its row, and the text that clients send, which is kept nowhere.

    `trusted` lets this token, and no other, act for the users of `namespace`, or of none. A plain
    token of a namespace's user carries the namespace, so that its user goes by the same name.
    A `delegated` one never has rights of staff.
    `lifetime` None is the setting TOKEN_DAYS; no token outlives the one that it is made with.
    Raises InvalidValue. Who may make which token is for the caller to decide.
    """
    if not user.is_active:
        raise InvalidValue(DEACTIVATED_USER, field="user_id")
    check_text("name", name)
    if len(name) > MAX_NAME_CHARS:
        raise InvalidValue(LONG_NAME, field="name", code="max_length")
    if namespace and not is_namespace(namespace):
        raise InvalidValue(BAD_NAMESPACE, field="namespace")
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
    """No later than the end of the token that asks: whoever gets hold of a browser's for some
    minutes makes none for years of it."""
    end = timezone.now() + (lifetime or timedelta(days=settings.TOKEN_DAYS))
    limit = access.caller.expires_at if access.caller else None
    return end if limit is None else min(end, limit)


def digest_of(token: str) -> str:
    """The SHA-512 of a token: of 256 random bits, it needs neither salt nor a slow hash."""
    return hashlib.sha512(token.encode()).hexdigest()


def lifetime_of(days: int | None) -> timedelta | None:
    """InvalidValue for days that no token is valid for."""
    if days is None:
        return None
    if not 1 <= days <= LARGEST_DAYS:
        raise InvalidValue(DAYS_OUT_OF_RANGE, field="days")
    return timedelta(days=days)


def tokens_of(user: User) -> list[ApiToken]:
    """The user's tokens that are still good, newest first."""
    return list(valid_tokens().filter(user=user))


def valid_tokens() -> QuerySet[ApiToken]:
    """Newest first, each with its user."""
    good = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    return ApiToken.objects.filter(good).select_related("user").order_by("-created_at", "-id")


def revoke_token(*, key: str, user: User | None = None) -> ApiToken:
    """End a token, named by its first characters; of this user, or (None) of anybody.

    Raises NotFound.
    """
    check_text("token_id", key)
    tokens = ApiToken.objects.select_related("user").filter(key=key)
    found = (tokens if user is None else tokens.filter(user=user)).first()
    if found is None:
        raise NotFound(NO_SUCH_TOKEN)
    found.delete()
    return found


def mark_used(token_id: uuid.UUID, at: datetime) -> None:
    """Note when a token was last used; the caller sees to it that this is not every request."""
    ApiToken.objects.filter(pk=token_id).update(last_used_at=at)
