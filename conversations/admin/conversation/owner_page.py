"""The page of one owner: what they have and use, and the one way to erase them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse

from conversations.admin.access_reasons import given_reason
from conversations.admin.audit import access_of
from conversations.admin.conversation.listed import held_of, newest_of
from conversations.admin.formatting import amount, counted, visible_text
from conversations.admin.username_urls import owner_url
from conversations.models.rights import DELETE, DELETE_USER, EXPORT, VIEW_CONTENT
from conversations.selectors.usage import MAX_CONVERSATIONS, usage_of
from conversations.services import ServiceError, erase_user
from conversations.services.accounts import BEYOND_YOUR_RIGHTS, may_change_account
from conversations.services.erasure import why_not_erasable
from conversations.services.erasure_certificate import certify
from conversations.services.tokens import valid_tokens

TEMPLATE = "admin/conversations/conversation/owner.html"
SHOWN = 20
# For each table that is searched for traces.
SEARCH_SECONDS = 5
CERTIFIED = (
    "{columns:,} columns of {tables:,} tables were searched for traces. The audit log has the "
    "certificate, with the owner {pseudonym}."
)
UNREAD = " Not searched, since it would take too long: {tables}."
FOUND = "Traces were found in {found} where none should be."
NOT_CONFIRMED = "Type the username exactly as shown to confirm."


def owner_page(request: HttpRequest, model_admin: ModelAdmin, username: str) -> HttpResponse:
    """GET shows; POST erases, once the name has been typed in and a reason given."""
    owner = get_object_or_404(User, username=username)
    if request.method == "POST":
        return _erase(request, owner)
    name = urlencode({"owner": owner.username})
    export = reverse("admin:conversations_conversation_export")
    usage = usage_of(owner.pk)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": visible_text(owner.username),
        "opts": model_admin.opts,
        "media": model_admin.media,
        "owner": owner,
        "usage": usage,
        "currency": settings.CHAT_COST_CURRENCY,
        "models": [
            row
            | {
                "answers": row["messages"] + row["turns"],
                "cost": "\u2013" if row["cost"] is None else amount(row["cost"]),
            }
            for row in usage["models"]
        ],
        "tokens": valid_tokens().filter(user=owner).count(),
        "newest_counted": MAX_CONVERSATIONS,
        "newest": list(newest_of(owner.pk)[:SHOWN]),
        "held": list(held_of(owner.pk)[:SHOWN]) if usage["held"] else [],
        "may_open": request.user.has_perm(VIEW_CONTENT),
        "list_url": f"{reverse('admin:conversations_conversation_changelist')}?{name}",
        "export_url": request.user.has_perms([EXPORT, VIEW_CONTENT]) and f"{export}?{name}",
        "may_erase": request.user.has_perms([DELETE, DELETE_USER]),
        "kept": _why_kept(request, owner),
    }
    return TemplateResponse(request, TEMPLATE, context)


def _erase(request: HttpRequest, owner: User) -> HttpResponse:
    access = access_of(request, DELETE, DELETE_USER, reason=given_reason(request))
    try:
        if kept := _why_kept(request, owner):
            raise ServiceError(kept)
        # A character that does not show is typed as it is shown.
        shown = {owner.username, visible_text(owner.username)}
        if request.POST.get("confirm", "") not in shown:
            raise ServiceError(NOT_CONFIRMED)
        erasure = erase_user(user_id=owner.pk, access=access)
    except ServiceError as refusal:
        messages.error(request, refusal.detail)
        return HttpResponseRedirect(f"{owner_url(owner.username)}#erase")
    gone = erasure.erased
    with_them = counted(gone["conversations"], "conversation"), counted(gone["messages"], "message")
    messages.success(request, f"User erased, with {with_them[0]} and {with_them[1]}.")
    _say_what_is_left(request, certify(erasure, access=access, seconds=SEARCH_SECONDS))
    return HttpResponseRedirect(reverse("admin:conversations_conversation_changelist"))


def _say_what_is_left(request: HttpRequest, certificate: dict[str, Any]) -> None:
    check = certificate["check"]
    text = CERTIFIED.format(pseudonym=certificate["pseudonym"], **check)
    if unread := check["unread_tables"]:
        text += UNREAD.format(tables=", ".join(unread))
    found = len(check["unexpected"])
    if found:
        messages.error(request, f"{FOUND.format(found=counted(found, 'column'))} {text}")
    else:
        messages.success(request, text)


def _why_kept(request: HttpRequest, owner: User) -> str | None:
    """Why this person may not erase this account, whatever it holds."""
    access = access_of(request)
    assert access.caller is not None
    if kept := why_not_erasable(owner, access):
        return kept
    return None if may_change_account(access.caller.user, owner) else BEYOND_YOUR_RIGHTS
