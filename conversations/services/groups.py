"""Three default groups of staff, created once; later changes by an administrator are kept."""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission
from django.db.models import Q

from conversations.models.rights import (
    ADD_NOTE,
    ARCHIVE,
    EXPORT,
    HOLD,
    IMPORT,
    RATE,
    VIEW_AUDIT_LOG,
    VIEW_CONTENT,
    VIEW_CONVERSATION,
    VIEW_NOTES,
)

SUPPORT = (VIEW_CONVERSATION, VIEW_CONTENT, VIEW_NOTES, ADD_NOTE, RATE)
COMPLIANCE = (*SUPPORT, ARCHIVE, EXPORT, HOLD, VIEW_AUDIT_LOG, "auth.view_user")
ADMINISTRATORS = (
    *COMPLIANCE,
    "conversations.delete_conversation",
    IMPORT,
    "auth.add_user",
    "auth.change_user",
    "auth.delete_user",
    "auth.view_group",
    "conversations.view_retentionrule",
    "conversations.add_retentionrule",
    "conversations.change_retentionrule",
    "conversations.delete_retentionrule",
    "conversations.view_apitoken",
    "conversations.add_apitoken",
    "conversations.delete_apitoken",
)

# No group has act_for_any_user, which is meant for programs.
GROUPS = {"Support": SUPPORT, "Compliance": COMPLIANCE, "Administrators": ADMINISTRATORS}


def ensure_groups() -> list[str]:
    """Create the missing groups; returns their names."""
    present = set(Group.objects.filter(name__in=GROUPS).values_list("name", flat=True))
    missing = [name for name in GROUPS if name not in present]
    for name in missing:
        group = Group.objects.create(name=name)
        group.permissions.set(_permissions(GROUPS[name]))
    return missing


def _permissions(names: tuple[str, ...]) -> list[Permission]:
    wanted = Q()
    for name in names:
        app, _, codename = name.partition(".")
        wanted |= Q(content_type__app_label=app, codename=codename)
    return list(Permission.objects.filter(wanted))
