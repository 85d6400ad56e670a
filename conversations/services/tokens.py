"""API tokens: made here, shown once, stored only as a hash."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from knox.models import AuthToken
from knox.settings import knox_settings

from conversations.models import ACT_FOR_ANY_USER
from conversations.services.errors import InvalidValue, NotFound
from conversations.services.owners import UserId, find_or_create_owner
from conversations.services.values import check_text

# A hundred years: dates beyond year 9999 cannot be stored.
LARGEST_DAYS = 36_500

DAYS_OUT_OF_RANGE = f"A token is valid for 1 to {LARGEST_DAYS:,} days."
NO_SUCH_TOKEN = "You have no such token."
DEACTIVATED_USER = "This user is deactivated: their token would open nothing."


def create_token(
    *, user_id: UserId, trusted: bool = False, days: int | None = None
) -> tuple[AuthToken, str]:
    """A token for the user, made where there is none: its row, and the text that clients send.

    `trusted` lets the user act for any user, with this token and every other. `days` None is
    the setting TOKEN_DAYS. Raises InvalidValue.
    """
    expiry = knox_settings.TOKEN_TTL if days is None else _days(days)
    with transaction.atomic():
        user = find_or_create_owner(user_id)
        if not user.is_active:
            raise InvalidValue(DEACTIVATED_USER, field="user_id")
        if trusted:
            _trust(user)
        row, text = AuthToken.objects.create(user=user, expiry=expiry)
    return row, text


def tokens_of(user: User) -> list[AuthToken]:
    """The user's tokens that are still good, newest first."""
    good = Q(expiry=None) | Q(expiry__gt=timezone.now())
    return list(AuthToken.objects.filter(good, user=user).order_by("-created", "-token_key"))


def revoke_token(*, user: User, token_key: str) -> None:
    """End one of the user's tokens, named by its first characters. Raises NotFound."""
    check_text("token_id", token_key)
    removed, _ = AuthToken.objects.filter(user=user, token_key=token_key).delete()
    if not removed:
        raise NotFound(NO_SUCH_TOKEN)


def _days(days: int) -> timedelta:
    if not 1 <= days <= LARGEST_DAYS:
        raise InvalidValue(DAYS_OUT_OF_RANGE, field="days")
    return timedelta(days=days)


def _trust(user: User) -> None:
    app, codename = ACT_FOR_ANY_USER.split(".")
    user.user_permissions.add(
        Permission.objects.get(content_type__app_label=app, codename=codename)
    )
