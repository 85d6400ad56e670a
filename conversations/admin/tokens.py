"""API tokens: staff list them, create them, each shown once, and revoke them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin import actions as admin_actions
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_variables

from conversations.admin.audit import access_of
from conversations.admin.base import ReadOnlyAdmin
from conversations.admin.change_list import BoundedChangeList
from conversations.admin.filters import text_filter, yes_no_filter
from conversations.admin.formatting import isolated, moment, visible
from conversations.models import ApiToken
from conversations.models.user_names import NAMESPACE_SEPARATOR
from conversations.selectors import known_values
from conversations.services import InvalidValue, NotAllowed, ServiceError, create_token, find_user
from conversations.services.accounts import why_token_refused
from conversations.services.tokens import (
    MAX_DAYS,
    MAX_NAME_CHARS,
    NAMESPACE_WITHOUT_TRUST,
    lifetime_of,
    revoke_token,
)

ADD = "conversations.add_apitoken"
FORM_TEMPLATE = "admin/conversations/apitoken/add.html"
MADE_TEMPLATE = "admin/conversations/apitoken/made.html"
NO_SUCH_USER = "There is no user of this name."


class TokenForm(forms.Form):
    """A new token. Services check the values, and their errors name the fields."""

    user_id = forms.CharField(
        label="User", strip=False, help_text="Exact username of an existing user."
    )
    name = forms.CharField(
        label="Name",
        required=False,
        max_length=MAX_NAME_CHARS,
        help_text="What the token is for.",
    )
    trusted = forms.BooleanField(
        label="Trusted: reads and writes conversations of an application's users", required=False
    )
    namespace = forms.CharField(
        label="Namespace",
        required=False,
        help_text="Only for trusted tokens: limits the token to users of this namespace.",
    )
    days = forms.IntegerField(
        label="Valid for (days)", required=False, min_value=1, max_value=MAX_DAYS
    )


class TokenChangeList(BoundedChangeList):
    """Links to the page that revokes a token, for those who may."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.model_admin.has_delete_permission(request):
            for row in self.result_list:
                row.revoke_url = reverse("admin:conversations_apitoken_delete", args=[row.pk])


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Shows the first characters of a token, by which `revoke_token` knows it; never its digest."""

    list_display = [
        "begins",
        "owner",
        "named",
        "rights",
        "in_namespace",
        "made",
        "expires",
        "used",
        "maker",
    ]
    list_display_links = None
    filters = [
        text_filter("user", "user", "user__username", known_values.usernames),
        yes_no_filter("trusted", "trusted", Q(trusted=True)),
        text_filter("namespace", "namespace", "namespace", known_values.namespaces),
    ]
    list_select_related = ["user"]
    ordering = ["-created_at", "-id"]
    search_fields = ["user__username", "name", "key__startswith"]
    search_help_text = "User, name or first characters of the token"
    actions = ["delete_selected"]
    delete_confirmation_template = "admin/conversations/apitoken/revoke.html"
    delete_selected_confirmation_template = "admin/conversations/apitoken/revoke.html"

    def get_changelist(  # type: ignore[override]
        self, request: HttpRequest, **kwargs: Any
    ) -> type[TokenChangeList]:
        return TokenChangeList

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(ADD)

    # A token has nothing that may change, and no history beyond its making.
    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise Http404

    history_view = change_view

    @method_decorator(sensitive_variables("text"))
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The form, or the new token: in the response to the form, and nowhere else."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = TokenForm(request.POST or None, initial={"days": settings.TOKEN_DAYS})
        page = {
            **self.admin_site.each_context(request),
            "title": "Create API token",
            "opts": self.opts,
            "media": self.media,
            "form": form,
        }
        if not form.is_valid():
            return TemplateResponse(request, FORM_TEMPLATE, page)
        try:
            row, text = _make(request, form.cleaned_data)
        except ServiceError as refusal:
            form.add_error(_field_of(refusal), ValidationError(refusal.detail))
            return TemplateResponse(request, FORM_TEMPLATE, page)
        self.log_addition(request, row, [{"added": {}}])
        made = {"title": "API token", "token": row, "text": text}
        answer = TemplateResponse(request, MADE_TEMPLATE, page | made)
        add_never_cache_headers(answer)
        return answer

    @admin.action(permissions=["delete"], description="Revoke selected tokens")
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[ApiToken]
    ) -> HttpResponse | None:
        return admin_actions.delete_selected(self, request, queryset)

    def get_deleted_objects(
        self, objs: Iterable[ApiToken], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        described: list[str] = [_described(token) for token in objs]
        return described, {"tokens": len(described)}, set(), []

    def delete_model(self, request: HttpRequest, obj: ApiToken) -> None:
        revoke_token(key=obj.key)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        for token in queryset:
            self.delete_model(request, token)

    def log_deletions(self, request: HttpRequest, queryset: Iterable[ApiToken]) -> list[LogEntry]:
        return LogEntry.objects.bulk_create(
            LogEntry(
                user_id=str(request.user.pk),
                content_type=get_content_type_for_model(token),
                object_repr=f"{token.key}… of {token.user.username}",
                action_flag=DELETION,
            )
            for token in queryset
        )

    @admin.display(description="token", ordering="key")
    def begins(self, token: ApiToken) -> SafeString:
        key = format_html("<code>{}…</code>", token.key)
        if url := getattr(token, "revoke_url", None):
            return format_html('{} <a href="{}">Revoke</a>', key, url)
        return key

    @admin.display(description="user", ordering="user__username")
    def owner(self, token: ApiToken) -> SafeString:
        return isolated(token.user.username)

    @admin.display(description="name", ordering="name")
    def named(self, token: ApiToken) -> SafeString:
        return isolated(token.name)

    @admin.display(description="rights", ordering="trusted")
    def rights(self, token: ApiToken) -> str:
        return "trusted" if token.trusted else "own conversations"

    @admin.display(description="namespace", ordering="namespace")
    def in_namespace(self, token: ApiToken) -> str:
        return token.namespace

    @admin.display(description="created", ordering="created_at")
    def made(self, token: ApiToken) -> SafeString | None:
        return moment(token.created_at)

    @admin.display(description="expires", ordering="expires_at")
    def expires(self, token: ApiToken) -> SafeString | str:
        if token.valid:
            return moment(token.expires_at) or "never"
        return format_html(
            '{} <span class="conversation-flag">expired</span>', moment(token.expires_at)
        )

    @admin.display(description="last used", ordering="last_used_at")
    def used(self, token: ApiToken) -> SafeString | str:
        return moment(token.last_used_at) or "never"

    @admin.display(description="created by", ordering="created_by")
    def maker(self, token: ApiToken) -> SafeString:
        return isolated(token.created_by)


def _make(request: HttpRequest, values: dict[str, Any]) -> tuple[ApiToken, str]:
    user = find_user(values["user_id"])
    if user is None:
        raise InvalidValue(NO_SUCH_USER, field="user_id")
    trusted, namespace = values["trusted"], values["namespace"]
    if refused := why_token_refused(cast(User, request.user), user, trusted=trusted):
        raise NotAllowed(refused, field="trusted" if trusted else "user_id")
    if namespace and not trusted:
        raise InvalidValue(NAMESPACE_WITHOUT_TRUST, field="namespace")
    if (
        not trusted and NAMESPACE_SEPARATOR in user.username
    ):  # so that its user goes by the same name
        namespace = user.username.partition(NAMESPACE_SEPARATOR)[0]
    return create_token(
        user=user,
        access=access_of(request, ADD),
        name=values["name"],
        trusted=trusted,
        namespace=namespace,
        lifetime=lifetime_of(values["days"]),
    )


def _field_of(refusal: ServiceError) -> str | None:
    return refusal.field if refusal.field in TokenForm.base_fields else None


def _described(token: ApiToken) -> SafeString:
    rights = "trusted" if token.trusted else "own conversations"
    return format_html(
        "<code>{}…</code> of {}, {} ({})",
        token.key,
        isolated(token.user.username),
        visible(token.name or "unnamed"),
        rights,
    )
