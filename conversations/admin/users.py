"""Django's users and groups: staff change no account that has more rights than they have.

Only a superuser gives out staff and superuser status, single permissions and what is in a group.
"""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import ManyToManyField, Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from conversations.admin.change_list import ListAdmin
from conversations.admin.filters import text_filter, yes_no_filter
from conversations.admin.formatting import isolated, named_visibly
from conversations.admin.username_urls import owner_url
from conversations.models.user_names import NAMESPACE_SEPARATOR
from conversations.selectors import known_values
from conversations.services import InvalidValue
from conversations.services.accounts import assignable_groups, may_change_account
from conversations.services.users import check_name

# What only a superuser sets.
_GRANTS = ("is_staff", "is_superuser", "user_permissions")

admin.site.unregister(User)
admin.site.unregister(Group)


class ExactName(forms.CharField):
    """A username exactly as it was typed: Django's own field normalises it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs | {"strip": False})

    def clean(self, value: Any) -> Any:
        try:
            return check_name(super().clean(value), field="username")
        except InvalidValue as refusal:
            raise ValidationError(refusal.detail, code=refusal.code) from None


class NewUserForm(UserCreationForm):
    class Meta(UserCreationForm.Meta):
        field_classes = {"username": ExactName}


class UserForm(UserChangeForm):
    """A name that is not changed is not validated either: an application may have given it."""

    class Meta(UserChangeForm.Meta):
        field_classes = {"username": ExactName}

    def _post_clean(self) -> None:
        """Django's user model normalises its name whenever it is validated."""
        stored = self.instance.username
        super()._post_clean()  # type: ignore[misc]
        self.instance.username = self.cleaned_data.get("username", stored)

    def _get_validation_exclusions(self) -> set[str]:
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded if "username" in self.changed_data else excluded | {"username"}


class AccountsAdmin(ListAdmin):
    """Users and groups: forms with a checkbox for each group or permission.

    Not `filter_horizontal`: its two lists have labels that screen readers do not read.
    """

    def formfield_for_manytomany(
        self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        kwargs["widget"] = UnfoldAdminCheckboxSelectMultipleWidget()
        return super().formfield_for_manytomany(db_field, request, **kwargs)


@admin.register(User)
class UserAdmin(AccountsAdmin, DjangoUserAdmin, ModelAdmin):  # type: ignore[misc]
    """Accounts within the editor's own rights; to delete one is to erase it, on its owner page."""

    form = UserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["name", "mail", "first", "last", "is_staff"]
    list_filter = ()
    filters = [
        yes_no_filter("staff", "staff", Q(is_staff=True)),
        yes_no_filter("superuser", "superuser", Q(is_superuser=True)),
        yes_no_filter("active", "active", Q(is_active=True)),
        text_filter("group", "group", "groups__name", known_values.group_names),
    ]
    actions = None

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if not super().has_change_permission(request, obj):
            return False
        return obj is None or may_change_account(cast(User, request.user), obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if not super().has_delete_permission(request, obj):
            return False
        return obj is None or may_change_account(cast(User, request.user), obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        """Nobody edits what the server notes. Nor a name in a namespace: it is an application's,
        which would not find its user any more."""
        fields = [*super().get_readonly_fields(request, obj), "last_login", "date_joined"]
        if not request.user.is_superuser:
            fields += _GRANTS
        if obj is not None and NAMESPACE_SEPARATOR in obj.username:
            fields.append("username")
        return fields

    def formfield_for_manytomany(
        self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name == "groups":
            kwargs["queryset"] = assignable_groups(cast(User, request.user))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Users are erased on their owner page alone, which asks for the name and a reason."""
        user = self.get_object(request, object_id)
        if user is None:
            raise Http404
        if not self.has_delete_permission(request, user):
            raise PermissionDenied
        return HttpResponseRedirect(f"{owner_url(user.username)}#erase")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if (user := context.get("original")) is not None:
            shown = named_visibly(user, "username")
            context |= {"original": shown, "subtitle": shown.username}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="username", ordering="username")
    def name(self, user: User) -> SafeString:
        return isolated(user.username)

    @admin.display(description="e-mail", ordering="email")
    def mail(self, user: User) -> SafeString:
        return isolated(user.email)

    @admin.display(description="first name", ordering="first_name")
    def first(self, user: User) -> SafeString:
        return isolated(user.first_name)

    @admin.display(description="last name", ordering="last_name")
    def last(self, user: User) -> SafeString:
        return isolated(user.last_name)


@admin.register(Group)
class GroupAdmin(AccountsAdmin, DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]
    """Groups as Django has them; who edits one gives rights to all of its members."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return bool(request.user.is_superuser)

    def has_view_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.has_perm("auth.view_group")
