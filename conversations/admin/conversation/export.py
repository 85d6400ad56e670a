"""Exporting conversations: the chosen ones or a filtered list, after saying what will leave."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone

from conversations.admin.access_reasons import access_to, is_reason_wanted
from conversations.admin.audit import access_of
from conversations.admin.conversation.search import BOUNDED, is_bounded_search
from conversations.formats import WRITERS
from conversations.models import AccessContext, Conversation
from conversations.models.rights import EXPORT, VIEW_CONTENT
from conversations.services import ServiceError, export_conversations
from conversations.services.export import ACTIVE, ALL, export_files
from conversations.services.export_zip import zipped

IDS = "ids"
# Counted no further, so that the page opens at once.
COUNTED = 10_000
BRANCHES = {ACTIVE: "The active branch", ALL: "Each branch as a conversation"}
TEMPLATE = "admin/conversations/conversation/export.html"


def export(
    request: HttpRequest, model_admin: ModelAdmin, conversations: QuerySet[Conversation]
) -> HttpResponseBase:
    """GET says what will leave and asks for a format; POST sends the file."""
    if not request.user.has_perms([EXPORT, VIEW_CONTENT]):
        raise PermissionDenied
    if request.method == "POST":
        try:
            return _file(request, conversations)
        except ServiceError as refusal:
            messages.error(request, refusal.detail)
    return _form(request, model_admin, conversations)


def chosen_ids(request: HttpRequest) -> list[uuid.UUID] | None:
    """The conversations named one by one; None where the list's filters choose."""
    if IDS not in request.GET:
        return None
    try:
        return [uuid.UUID(key) for key in request.GET[IDS].split(",")]
    except ValueError:
        return []


def _file(request: HttpRequest, conversations: QuerySet[Conversation]) -> HttpResponseBase:
    file_format = request.POST.get("format", "")
    given: dict[str, Any] = {
        "conversations": conversations,
        "file_format": file_format,
        "branches": request.POST.get("branches", ACTIVE),
        "access": _access(request),
    }
    now = f"{timezone.now():%Y%m%d-%H%M%S}"
    writer = WRITERS.get(file_format)
    if writer is not None and writer.one_a_file and not _is_one_page(request):
        archive = zipped(export_files(**given))
        return _download(archive, "application/zip", f"conversations-{now}.zip")
    pieces = export_conversations(**given)
    writer = WRITERS[file_format]
    content_type = f"{writer.content_type}; charset=utf-8"
    return _download(pieces, content_type, f"conversations-{now}.{writer.extension}")


def _is_one_page(request: HttpRequest) -> bool:
    one = len(chosen_ids(request) or []) == 1
    return one and request.POST.get("branches", ACTIVE) == ACTIVE


def _access(request: HttpRequest) -> AccessContext:
    """Of a single conversation, with the reason that was given to read it in this session."""
    ids = chosen_ids(request) or []
    if len(ids) == 1:
        return access_to(request, ids[0], EXPORT, VIEW_CONTENT)
    return access_of(request, EXPORT, VIEW_CONTENT)


def _download(pieces: Iterator[Any], content_type: str, name: str) -> HttpResponseBase:
    response = StreamingHttpResponse(pieces, content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _form(
    request: HttpRequest, model_admin: ModelAdmin, conversations: QuerySet[Conversation]
) -> HttpResponse:
    count = conversations.order_by()[: COUNTED + 1].count()
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "title": "Export conversations",
        "opts": model_admin.opts,
        "media": model_admin.media,
        "count": count,
        "said_count": f"{count:,}" if count <= COUNTED else f"more than {COUNTED:,}",
        "note": BOUNDED if is_bounded_search(request) else "",
        "formats": [(name, writer.label) for name, writer in WRITERS.items()],
        "branches": BRANCHES.items(),
        "reason_wanted": is_reason_wanted(request),
    }
    return TemplateResponse(request, TEMPLATE, context)
