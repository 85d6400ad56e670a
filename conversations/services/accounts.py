"""Which accounts, groups and tokens an account may manage: none with more rights than its own."""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Exists, OuterRef, Q, QuerySet

BEYOND_YOUR_RIGHTS = "This account has permissions that you do not have."
ONLY_SUPERUSERS_TRUST = "Only a superuser can create a trusted token."
ONLY_SUPERUSERS_FOR_STAFF = "Only a superuser can create a token for a staff account."


def may_change_account(editor: User, account: User) -> bool:
    """Whether the editor may change the account, including its password.

    A deactivated account counts as active, since the editor could activate it.
    """
    if editor.is_superuser:
        return True
    return not account.is_superuser and not _beyond(editor, _held_by(account)).exists()


def assignable_groups(editor: User) -> QuerySet[Group]:
    """The groups whose permissions the editor has too."""
    if editor.is_superuser:
        return Group.objects.all()
    beyond = _beyond(editor, Permission.objects.filter(group=OuterRef("pk")))
    return Group.objects.filter(~Exists(beyond))


def why_token_refused(editor: User, account: User, *, trusted: bool) -> str | None:
    """Why the editor may not create such a token for the account; None if they may."""
    if editor.is_superuser:
        return None
    if trusted:
        return ONLY_SUPERUSERS_TRUST
    if account.is_staff or account.is_superuser:
        return ONLY_SUPERUSERS_FOR_STAFF
    return None if may_change_account(editor, account) else BEYOND_YOUR_RIGHTS


def _held_by(user: User) -> QuerySet[Permission]:
    return Permission.objects.filter(Q(user=user) | Q(group__user=user))


def _beyond(editor: User, permissions: QuerySet[Permission]) -> QuerySet[Permission]:
    """The permissions that the editor does not have."""
    return permissions.exclude(pk__in=_held_by(editor).order_by().values("pk"))
