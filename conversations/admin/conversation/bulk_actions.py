"""What staff do to the conversations that they have chosen in the list.

Each is an action of ConversationAdmin; the page size bounds how many are chosen at once.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from conversations.admin.access_reasons import given_reason
from conversations.admin.conversation.detail_actions import set_archived
from conversations.admin.conversation.export import IDS
from conversations.admin.conversation.legal_holds import confirm, set_holds
from conversations.admin.formatting import counted
from conversations.models import Conversation
from conversations.services import NotFound, OnLegalHold

_Rows = QuerySet[Conversation]
_Admin = admin.ModelAdmin


@admin.action(permissions=["export"], description="Export selected conversations")
def export_selected(model_admin: _Admin, request: HttpRequest, queryset: _Rows) -> HttpResponse:
    ids = ",".join(str(key) for key in queryset.values_list("pk", flat=True))
    page = reverse("admin:conversations_conversation_export")
    return redirect(f"{page}?{urlencode({IDS: ids})}")


@admin.action(permissions=["archive"], description="Archive selected conversations")
def archive_selected(model_admin: _Admin, request: HttpRequest, queryset: _Rows) -> None:
    # Before anything is done: afterwards a list of those not archived holds none of them.
    chosen = list(queryset)
    todo = [one for one in chosen if not one.archived]
    done, held = _each(todo, lambda one: set_archived(request, one.pk, True))
    said = f"{counted(done, 'conversation')} archived."
    if before := len(chosen) - len(todo):
        said += f" {before:,} {'was' if before == 1 else 'were'} already archived."
    messages.success(request, said)
    if held:
        said = f"{counted(held, 'conversation')} on legal hold cannot be changed now."
        messages.warning(request, said)


@admin.action(permissions=["hold"], description="Place a legal hold on selected conversations")
def hold_selected(
    model_admin: _Admin, request: HttpRequest, queryset: _Rows
) -> HttpResponse | None:
    return _hold(model_admin, request, queryset, on_hold=True)


@admin.action(permissions=["hold"], description="Release the legal hold on selected conversations")
def release_selected(
    model_admin: _Admin, request: HttpRequest, queryset: _Rows
) -> HttpResponse | None:
    return _hold(model_admin, request, queryset, on_hold=False)


def _hold(
    model_admin: _Admin, request: HttpRequest, queryset: _Rows, *, on_hold: bool
) -> HttpResponse | None:
    chosen = list(queryset)
    if "confirmed" in request.POST and given_reason(request):
        messages.success(request, set_holds(request, chosen, on_hold))
        return None
    return confirm(
        request,
        model_admin,
        chosen,
        on_hold=on_hold,
        back_url=request.get_full_path(),
        action="hold_selected" if on_hold else "release_selected",
    )


def _each(chosen: list[Conversation], do: Callable[[Conversation], object]) -> tuple[int, int]:
    """How many it was done to, and how many are on hold; a missing reason undoes all."""
    done = held = 0
    with transaction.atomic():
        for conversation in sorted(chosen, key=lambda one: one.pk):
            try:
                with transaction.atomic():
                    do(conversation)
                done += 1
            except OnLegalHold:
                held += 1
            except NotFound:  # deleted since the list was shown
                continue
    return done, held
