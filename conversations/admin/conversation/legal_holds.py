"""Placing and releasing legal holds: what it means is said, and why it is done is asked, first."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from conversations.admin.access_reasons import given_reason
from conversations.admin.audit import access_of
from conversations.admin.conversation.listed import listed
from conversations.admin.formatting import counted
from conversations.models import AccessAction, AccessRecord, Conversation
from conversations.models.rights import HOLD
from conversations.services import NotFound, ReasonRequired, ServiceError, set_legal_hold

TEMPLATE = "admin/conversations/conversation/hold.html"
SHOWN = 50


def hold_page(
    request: HttpRequest, model_admin: ModelAdmin, conversation_id: uuid.UUID, *, on_hold: bool
) -> HttpResponse:
    """GET says what it means and asks for the reason; POST places or releases the hold."""
    if not request.user.has_perm(HOLD):
        raise PermissionDenied
    conversation = listed(conversation_id)
    page = reverse("admin:conversations_conversation_change", args=[conversation.pk])
    if request.method == "POST":
        try:
            said = set_holds(request, [conversation], on_hold)
        except ServiceError as refusal:
            messages.error(request, refusal.detail)
        else:
            messages.success(request, said)
            return HttpResponseRedirect(page)
    return confirm(request, model_admin, [conversation], on_hold=on_hold, back_url=page)


def confirm(
    request: HttpRequest,
    model_admin: ModelAdmin,
    conversations: list[Conversation],
    *,
    on_hold: bool,
    back_url: str,
    action: str = "",
) -> TemplateResponse:
    """`action` is that of the list which these were chosen in: the form is sent to it again."""
    changing = [one for one in conversations if one.legal_hold != on_hold]
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "title": "Place legal hold" if on_hold else "Release legal hold",
        "opts": model_admin.opts,
        "media": model_admin.media,
        "on_hold": on_hold,
        "changing": changing[:SHOWN],
        "count": len(changing),
        "more": max(0, len(changing) - SHOWN),
        "already": len(conversations) - len(changing),
        "back_url": back_url,
        "action": action,
        "chosen": [one.pk for one in conversations] if action else [],
        "action_checkbox_name": ACTION_CHECKBOX_NAME,
    }
    return TemplateResponse(request, TEMPLATE, context)


def set_holds(request: HttpRequest, conversations: list[Conversation], on_hold: bool) -> str:
    """All of them, or none; what was done, in words. Raises ReasonRequired."""
    access = access_of(request, HOLD, reason=given_reason(request))
    if not access.reason:
        raise ReasonRequired
    changed = gone = 0
    with transaction.atomic():
        for conversation in sorted(conversations, key=lambda one: one.pk):
            try:
                with transaction.atomic():
                    changed += set_legal_hold(
                        conversation_id=conversation.pk, on_hold=on_hold, access=access
                    )
            except NotFound:
                gone += 1
    done = "placed on legal hold" if on_hold else "released from legal hold"
    return _said(changed, done, already=len(conversations) - changed - gone, on_hold=on_hold)


def _said(changed: int, done: str, *, already: int, on_hold: bool) -> str:
    said = f"{counted(changed, 'conversation')} {done}."
    if already:
        state = "already on hold" if on_hold else "not on hold"
        said += f" {already:,} {'was' if already == 1 else 'were'} {state}."
    return said


def placed_by(conversation: Conversation) -> AccessRecord | None:
    """Who placed the hold that is on, when and why; None where no record says so."""
    placed = AccessRecord.objects.filter(
        conversation_id=conversation.pk, action=AccessAction.HOLD, detail__on_hold=True
    )
    return placed.order_by("-created_at", "-id").first()
