"""Three default groups of staff, created once; later changes by an administrator are kept.

A later release gives the groups that are there the rights that come with it: those of which the
database had not heard before its migrations, so that nobody can have taken them away. A right that
an earlier release had already needs a data migration to get into a group that is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.contrib.auth.models import Group, Permission
from django.db import connection
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


def stored_rights() -> set[str]:
    """Those that the database has; none before its first migration."""
    if Permission._meta.db_table not in connection.introspection.table_names():
        return set()
    names = Permission.objects.values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in names}


def ensure_groups(known: Collection[str] | None = None) -> list[str]:
    """Create the missing groups; returns their names.

    `known` are the rights that the database had before this release; the others that a group has
    here are added to the one that is there.
    """
    present = {group.name: group for group in Group.objects.filter(name__in=GROUPS)}
    for name, group in present.items():
        new = () if known is None else [right for right in GROUPS[name] if right not in known]
        if new:
            group.permissions.add(*_permissions(new))
    missing = [name for name in GROUPS if name not in present]
    for name in missing:
        group = Group.objects.create(name=name)
        group.permissions.set(_permissions(GROUPS[name]))
    return missing


def _permissions(names: Iterable[str]) -> list[Permission]:
    wanted = Q()
    for name in names:
        app, _, codename = name.partition(".")
        wanted |= Q(content_type__app_label=app, codename=codename)
    return list(Permission.objects.filter(wanted))
