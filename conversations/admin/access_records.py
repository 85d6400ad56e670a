"""The audit log: which member of staff did what with whose conversation. Nobody edits it."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET

from conversations.admin.access_records_csv import csv_of
from conversations.admin.audit import record_log_export
from conversations.admin.base import ReadOnlyAdmin
from conversations.admin.change_list import BoundedChangeList
from conversations.admin.conversation.listed import titles_of
from conversations.admin.filters import choice_filter, date_filter, text_filter
from conversations.admin.formatting import counted, indented_json, isolated, moment, visible
from conversations.models import VIEW_CONVERSATION, AccessAction, AccessRecord
from conversations.selectors import known_values
from conversations.selectors.access_visits import visits_of

# The query parameter of the list with each record on a row of its own.
EACH = "each"
# The key of a record that has the certificate of an erasure.
CERTIFICATE = "certificate"
NO_CERTIFICATE = "This entry has no certificate."


class VisitChangeList(BoundedChangeList):
    """One row a visit, or with the parameter EACH one a record; with the titles of the
    conversations, for those who may see the list of conversations."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        records = self.records(request)
        return records if EACH in request.GET else visits_of(records)

    def records(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not request.user.has_perm(VIEW_CONVERSATION):
            return
        records: list[Any] = list(self.result_list)
        titles = titles_of(record.conversation_id for record in records if record.conversation_id)
        for record in records:
            record.title = titles.get(record.conversation_id)
        self.result_list = records


@admin.register(AccessRecord)
class AccessRecordAdmin(ReadOnlyAdmin):
    """Nobody adds, changes or deletes a record here, superusers included."""

    list_display = ["at", "staff", "did", "owner", "conversation", "summary", "why", "address"]
    list_display_links = ["at"]
    filters = [
        choice_filter("action", "action", dict(AccessAction.choices)),
        text_filter("staff", "staff member", "staff_name", known_values.staff_names),
        text_filter("owner", "owner", "owner_name", known_values.usernames),
        date_filter("day", "date", "created_at"),
    ]
    # The order of the index accessrecord_created_idx.
    ordering = ["-created_at", "-id"]
    search_fields = ["staff_name", "owner_name"]
    search_help_text = "Staff member, owner or conversation id"
    id_lookup = "conversation_id"
    rows_name = "entries"
    actions = None
    fields = ["at", "staff", "did", "owner", "conversation", "shown_detail", "why", "address"]
    readonly_fields = [
        *("at", "staff", "did", "owner", "conversation", "shown_detail", "why"),
        "certificate",
    ]

    def get_urls(self) -> list[URLPattern]:
        pages = [
            path("export/", self.export_view, name="accessrecord_export"),
            self.page("<uuid:record_id>/certificate/", "certificate", self.certificate_view),
        ]
        return [*pages, *super().get_urls()]

    def get_fields(self, request: HttpRequest, obj: AccessRecord | None = None) -> list[Any]:
        fields = list(super().get_fields(request, obj))
        return [*fields, "certificate"] if obj and CERTIFICATE in obj.detail else fields

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        query = request.GET.copy()
        query.pop("p", None)
        export_url = f"{reverse('admin:accessrecord_export')}?{query.urlencode()}"
        if EACH in query:
            del query[EACH]
        else:
            query[EACH] = "1"
        switch = {"is_each": EACH in request.GET, "switch_url": f"?{query.urlencode()}"}
        shown = {"export_url": export_url, "visits": switch}
        return super().changelist_view(request, shown | (extra_context or {}))

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        return self.admin_site.admin_view(self._export)(request)

    @method_decorator(require_GET)
    def certificate_view(self, request: HttpRequest, record_id: uuid.UUID) -> HttpResponse:
        """That of an erasure, as JSON: under a pseudonym, and without what was said."""
        records = AccessRecord.objects.filter(pk=record_id, detail__has_key=CERTIFICATE)
        record = records.first()
        if record is None:
            raise Http404(NO_CERTIFICATE)
        text = json.dumps(record.detail[CERTIFICATE], indent=2, ensure_ascii=False) + "\n"
        response = HttpResponse(text, content_type="application/json")
        name = f"erasure-{record.created_at:%Y-%m-%d}-{record.pk}.json"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        response["X-Content-Type-Options"] = "nosniff"
        return response

    def _export(self, request: HttpRequest) -> HttpResponseBase:
        """The filtered records as CSV, each of them; the export is recorded itself."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        changelist: Any = self.get_changelist_instance(request)
        record_log_export(request)
        response = StreamingHttpResponse(
            csv_of(changelist.records(request)), content_type="text/csv; charset=utf-8"
        )
        response["Content-Disposition"] = 'attachment; filename="access-records.csv"'
        return response

    def get_changelist(  # type: ignore[override]
        self, request: HttpRequest, **kwargs: Any
    ) -> type[VisitChangeList]:
        return VisitChangeList

    def has_delete_permission(self, request: HttpRequest, obj: AccessRecord | None = None) -> bool:
        return False

    @admin.display(description="time", ordering="created_at")
    def at(self, record: AccessRecord) -> SafeString | None:
        return moment(record.created_at, to="%H:%M:%S")

    @admin.display(description="staff member", ordering="staff_name")
    def staff(self, record: AccessRecord) -> SafeString:
        return isolated(record.staff_name)

    @admin.display(description="action", ordering="action")
    def did(self, record: AccessRecord) -> str:
        return AccessAction(record.action).label

    @admin.display(description="owner", ordering="owner_name")
    def owner(self, record: AccessRecord) -> SafeString:
        return isolated(record.owner_name)

    @admin.display(description="reason")
    def why(self, record: AccessRecord) -> SafeString:
        return isolated(record.reason)

    @admin.display(description="details")
    def shown_detail(self, record: AccessRecord) -> SafeString:
        return format_html("<pre>{}</pre>", visible(indented_json(record.detail)))

    @admin.display(description="certificate")
    def certificate(self, record: AccessRecord) -> SafeString:
        url = reverse("admin:conversations_accessrecord_certificate", args=[record.pk])
        return format_html('<a href="{}">Certificate of the erasure</a>', url)

    @admin.display(description="conversation")
    def conversation(self, record: AccessRecord) -> SafeString | None:
        """Its title or, where that is not known, its id; linked unless it is known to be gone."""
        if record.conversation_id is None:
            return None
        key = format_html("<code>{}</code>", record.conversation_id)
        title = getattr(record, "title", "")
        if title is None:
            return format_html('{} <span class="conversation-flag">deleted</span>', key)
        url = reverse("admin:conversations_conversation_change", args=[record.conversation_id])
        if not title:
            return format_html('<a href="{}">{}</a>', url, key)
        return format_html(
            '<a href="{}"><span class="conversation-title">{}</span></a>', url, isolated(title)
        )

    @admin.display(description="details")
    def summary(self, record: AccessRecord) -> SafeString:
        if CERTIFICATE in record.detail:
            return self.certificate(record)
        visit = getattr(record, "visit", None)
        if not visit or visit["reads"] < 2:
            return isolated(_summary(record.detail))
        shown = {name: value for name, value in visit.items() if value is not None}
        return format_html(
            '{} <a class="visit" href="{}">{} since {}</a>',
            _summary(shown),
            _each_url(record),
            counted(visit["reads"], "read"),
            timezone.localtime(datetime.fromisoformat(visit["since"])).strftime("%H:%M:%S"),
        )


def _each_url(record: AccessRecord) -> str:
    """The list of each read of this conversation by this member of staff on this day."""
    day = str(timezone.localdate(record.created_at))
    filters = {
        EACH: "1",
        "q": str(record.conversation_id),
        "action": record.action,
        "staff": record.staff_name,
        "day_from": day,
        "day_to": day,
    }
    return f"{reverse('admin:conversations_accessrecord_changelist')}?{urlencode(filters)}"


def _summary(detail: dict[str, Any]) -> str:
    """The text in the list for a record's detail; all of it is on the record's own page."""
    if "query" in detail:
        return f"Search: {detail['query']}"
    if "first" in detail and "last" in detail:
        branch = f" of branch {detail['branch']}" if "branch" in detail else ""
        return f"Messages #{detail['first']} to #{detail['last']}{branch}"
    if "fields" in detail:
        return f"Changed: {', '.join(map(str, detail['fields']))}"
    if detail.get("erased") is True:
        erased = counted(detail["conversations"], "conversation")
        return f"User erased, with {erased} and {counted(detail['messages'], 'message')}"
    if "format" in detail:
        return f"Format: {detail['format']}"
    return ""
