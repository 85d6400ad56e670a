"""The sidebar: each list of the admin with its icon, for those who may see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from conversations.models import (
    AccessRecord,
    ApiToken,
    Conversation,
    ImportRun,
    RetentionRule,
)

_LISTS: list[tuple[str, str, type[Model]]] = [
    ("Conversations", "forum", Conversation),
    ("Imports", "upload_file", ImportRun),
    ("Users", "person", User),
    ("Groups", "group", Group),
    ("Audit log", "history", AccessRecord),
    ("Retention rules", "auto_delete", RetentionRule),
    ("API tokens", "key", ApiToken),
]


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The theme's SIDEBAR navigation: one group without a title."""
    dashboard = {"title": "Dashboard", "icon": "monitoring", "link": reverse("admin:index")}
    lists = [
        {"title": title, "icon": icon, "link": list_url(model), "permission": _permission(model)}
        for title, icon, model in _LISTS
    ]
    return [{"items": [dashboard, *lists]}]


def list_url(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def may_see_any_list(request: HttpRequest) -> bool:
    return any(_permission(model)(request) for _, _, model in _LISTS)


def _permission(model: type[Model]) -> Callable[[HttpRequest], bool]:
    # The theme copies the navigation with all that it refers to: a function stays, a bound
    # method would take a copy of its ModelAdmin along.
    return lambda request: admin.site.get_model_admin(model).has_view_permission(request)
