"""API tokens: staff see whose there are and revoke them; only a command hands one out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from conversations.admin.read_only import ReadOnlyAdmin
from conversations.admin.texts import isolated, moment
from conversations.models import ApiToken

KEY_SHOWN = 8


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Shows the first characters of a token, which tell it from others; never its digest."""

    list_display = ["begins", "owner", "made", "expires", "valid"]
    list_display_links = None
    list_select_related = ["user"]
    ordering = ["-created_at", "-id"]
    search_fields = ["user__username", "key__startswith"]
    search_help_text = "User, or how the token begins"

    # A token has no page of its own: that page's address would be its digest.
    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise Http404

    delete_view = history_view = change_view

    def get_deleted_objects(
        self, objs: Iterable[ApiToken], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        described = [_described(token) for token in objs]
        return described, {"tokens": len(described)}, set(), []

    def log_deletions(self, request: HttpRequest, queryset: Iterable[ApiToken]) -> list[LogEntry]:
        return LogEntry.objects.bulk_create(
            LogEntry(
                user_id=str(request.user.pk),
                content_type=get_content_type_for_model(token),
                object_repr=_described(token),
                action_flag=DELETION,
            )
            for token in queryset
        )

    @admin.display(description="begins with", ordering="key")
    def begins(self, token: ApiToken) -> str:
        return f"{token.key[:KEY_SHOWN]}…"

    @admin.display(description="user", ordering="user__username")
    def owner(self, token: ApiToken) -> SafeString:
        return isolated(token.user.username)

    @admin.display(description="made", ordering="created")
    def made(self, token: ApiToken) -> SafeString | None:
        return moment(token.created_at)

    @admin.display(description="expires", ordering="expiry")
    def expires(self, token: ApiToken) -> SafeString | str:
        return moment(token.expires_at) or "never"

    @admin.display(description="valid", boolean=True)
    def valid(self, token: ApiToken) -> bool:
        return token.valid


def _described(token: ApiToken) -> str:
    return f"{token.key[:KEY_SHOWN]}… of {token.user.username}"
