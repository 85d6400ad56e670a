"""Exporting conversations: the chosen ones or a filtered list, after saying what will leave."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone

from conversations.admin.reasons import given_reason
from conversations.admin.trail import address_of, caller_of
from conversations.formats import WRITERS
from conversations.models import Conversation
from conversations.models.rights import EXPORT, VIEW_CONTENT
from conversations.services import ServiceError, export_conversations
from conversations.services.access import wants_reason
from conversations.services.export import MOST

IDS = "ids"
TOO_MANY = f"More than {MOST:,} conversations: narrow the list by filters first."
TEMPLATE = "admin/conversations/conversation/export.html"


def export(
    request: HttpRequest, model_admin: ModelAdmin, conversations: QuerySet[Conversation]
) -> HttpResponseBase:
    """GET says what will leave and asks for a format; POST sends the file."""
    if not request.user.has_perms([EXPORT, VIEW_CONTENT]):
        raise PermissionDenied
    count = conversations.order_by()[: MOST + 1].count()
    if request.method != "POST":
        return _form(request, model_admin, count)
    try:
        return _file(request, conversations, count)
    except ServiceError as refusal:
        messages.error(request, refusal.detail)
        return _form(request, model_admin, count)


def chosen_ids(request: HttpRequest) -> list[uuid.UUID] | None:
    """The conversations named one by one; None where the list's filters choose."""
    if IDS not in request.GET:
        return None
    try:
        return [uuid.UUID(key) for key in request.GET[IDS].split(",")]
    except ValueError:
        return []


def _file(
    request: HttpRequest, conversations: QuerySet[Conversation], count: int
) -> HttpResponseBase:
    reason = given_reason(request)
    if count > MOST:
        raise ServiceError(TOO_MANY)
    file_format = request.POST.get("format", "")
    pieces = export_conversations(
        conversations=conversations,
        file_format=file_format,
        by=caller_of(request),
        address=address_of(request),
        reason=reason,
    )
    writer = WRITERS[file_format]
    response = StreamingHttpResponse(pieces, content_type=f"{writer.content_type}; charset=utf-8")
    name = f"conversations-{timezone.now():%Y%m%d-%H%M%S}.{writer.extension}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _form(request: HttpRequest, model_admin: ModelAdmin, count: int) -> HttpResponse:
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "title": "Export conversations",
        "opts": model_admin.opts,
        "media": model_admin.media,
        "count": count,
        "too_many": TOO_MANY if count > MOST else "",
        "formats": [(name, writer.label) for name, writer in WRITERS.items()],
        "reason_wanted": wants_reason(caller_of(request), None),
    }
    return TemplateResponse(request, TEMPLATE, context)
