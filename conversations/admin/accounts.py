"""Django's users and groups in the theme, and what a user's deletion takes along."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Count, QuerySet, Sum
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from conversations.admin.refusals import SaysRefusals
from conversations.admin.trail import access_of
from conversations.models import Conversation
from conversations.models.rights import DELETE, DELETE_USER
from conversations.services import erase_user
from conversations.services.erasure import why_kept

SHOWN = 20

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(SaysRefusals, DjangoUserAdmin, ModelAdmin):  # type: ignore[misc]
    """Deleting a user is erasing them: it says how much goes, and legal holds keep everything."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    def get_deleted_objects(
        self, objs: Sequence[User] | QuerySet[User], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Who goes, and how much with them: the list of what goes would name tokens' digests."""
        _, counts, lacking, protected = super().get_deleted_objects(objs, request)
        theirs = Conversation.objects.filter(user_id__in=[user.pk for user in objs])
        counts |= _counted(theirs)
        if counts["conversations"] and not request.user.has_perm(DELETE):
            lacking = lacking | {"conversation"}
        held = theirs.filter(legal_hold=True).newest_first()[:SHOWN]
        on_hold = [f"Conversation “{conversation}” is on legal hold" for conversation in held]
        kept = [f"{user}: {why}" for user in objs if (why := why_kept(user, access_of(request)))]
        return list(map(str, objs)), counts, lacking, [*protected, *kept, *on_hold]

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        erase_user(user_id=obj.pk, access=access_of(request, DELETE_USER))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        with transaction.atomic():
            for user in queryset:
                self.delete_model(request, user)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]
    """Groups as Django has them."""


def _counted(conversations: QuerySet[Conversation]) -> dict[str, int]:
    found = conversations.aggregate(conversations=Count("pk"), messages=Sum("message_count"))
    return {name: count or 0 for name, count in found.items()}
