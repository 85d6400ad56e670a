"""The page of one owner: what they have and use, and taking all of it out or away."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse

from conversations.admin.texts import counted
from conversations.admin.trail import access_of
from conversations.models import Conversation
from conversations.models.rights import DELETE, DELETE_USER, EXPORT, VIEW_CONTENT
from conversations.models.usage import NEWEST, usage_of
from conversations.services import ServiceError, erase_user

TEMPLATE = "admin/conversations/conversation/owner.html"
SHOWN = 20
NOT_CONFIRMED = "To erase, type the user's name exactly as it is shown."


def owner_page(request: HttpRequest, model_admin: ModelAdmin, user_id: int) -> HttpResponse:
    """GET shows; POST erases, once the name has been typed in."""
    owner = get_object_or_404(User, pk=user_id)
    if request.method == "POST":
        return _erase(request, owner)
    may_erase = request.user.has_perms([DELETE, DELETE_USER])
    newest = Conversation.objects.owned_by(owner.pk).newest_first().defer("metadata")
    name = urlencode({"owner": owner.username})
    export = reverse("admin:conversations_conversation_export")
    context = {
        **model_admin.admin_site.each_context(request),
        "title": owner.username,
        "opts": model_admin.opts,
        "media": model_admin.media,
        "owner": owner,
        "usage": usage_of(owner.pk),
        "newest_counted": NEWEST,
        "newest": list(newest[:SHOWN]),
        "may_open": request.user.has_perm(VIEW_CONTENT),
        "list_url": f"{reverse('admin:conversations_conversation_changelist')}?{name}",
        "export_url": request.user.has_perms([EXPORT, VIEW_CONTENT]) and f"{export}?{name}",
        "may_erase": may_erase and not owner.is_staff and owner != request.user,
    }
    return TemplateResponse(request, TEMPLATE, context)


def _erase(request: HttpRequest, owner: User) -> HttpResponse:
    if not request.user.has_perms([DELETE, DELETE_USER]):
        raise PermissionDenied
    try:
        if request.POST.get("confirm", "") != owner.username:
            raise ServiceError(NOT_CONFIRMED)
        gone = erase_user(user_id=owner.pk, access=access_of(request, DELETE, DELETE_USER))
    except ServiceError as refusal:
        messages.error(request, refusal.detail)
        return HttpResponseRedirect(request.path)
    with_them = counted(gone.conversations, "conversation"), counted(gone.messages, "message")
    messages.success(request, f"Erased the user with {with_them[0]} and {with_them[1]}.")
    return HttpResponseRedirect(reverse("admin:conversations_conversation_changelist"))
