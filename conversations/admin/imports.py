"""Imports: staff send a file, see how far its import is and what was refused."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET, require_POST

from conversations.admin.access_reasons import is_reason_wanted
from conversations.admin.audit import access_of
from conversations.admin.base import ReadOnlyAdmin, uuid_in
from conversations.admin.filters import choice_filter
from conversations.admin.formatting import clipped, isolated, moment
from conversations.chat.runtime.import_process import look_for_imports
from conversations.formats import AUTO, FORMATS
from conversations.models import ImportRun, ImportStatus
from conversations.models.rights import IMPORT
from conversations.services import InvalidValue, ServiceError
from conversations.services.import_uploads import add_piece, begin_upload, stop_import

ADD_TEMPLATE = "admin/conversations/importrun/add.html"
RUN_TEMPLATE = "admin/conversations/importrun/run.html"
NO_FILE = "Choose a file."
NO_SUCH_IMPORT = "There is no such import."
# Of rejections; the file has all that are kept.
SHOWN = 100
# Of a file, in one request.
PIECE_BYTES = 4 * 1024 * 1024


class ImportForm(forms.Form):
    """What is to be imported. Services check the values, and their errors name the fields.

    The script of the page announces the file by `file_name` and `size`, and sends it in pieces;
    without the script it is in the form.
    """

    file = forms.FileField(
        label="File",
        required=False,
        allow_empty_file=True,
        help_text="An export of another application or of this one: plain, or as gzip or zip.",
    )
    format = forms.ChoiceField(
        label="Format",
        choices=[(AUTO, "Recognised by its content"), *((name, name) for name in sorted(FORMATS))],
    )
    owner = forms.CharField(
        label="Owner",
        strip=False,
        required=False,
        help_text="Exact username of an existing user, whose conversations they become.",
    )
    owner_field = forms.CharField(
        label="Or: where the file names the owners",
        required=False,
        help_text="The word owner, where the format names one, or a path into the metadata such as "
        "customer.id. Users are created where there are none; accounts of staff are refused.",
    )
    namespace = forms.CharField(
        label="Namespace", required=False, help_text="Of the owner or owners, if they are in one."
    )
    dry_run = forms.BooleanField(label="Dry run: report only, store nothing", required=False)
    file_name = forms.CharField(required=False, widget=forms.HiddenInput)
    size = forms.IntegerField(required=False, widget=forms.HiddenInput)


@admin.register(ImportRun)
class ImportRunAdmin(ReadOnlyAdmin):
    """The list of imports; a page of each, and one that begins another."""

    list_display = ["began", "file", "format", "state", "made", "grown", "known", "refusals", "by"]
    list_display_links = ["began"]
    filters = [choice_filter("status", "status", dict(ImportStatus.choices))]
    # The order of the index importrun_created_idx.
    ordering = ["-created_at", "-id"]
    search_fields = ["file_name"]
    search_help_text = "Name of the file, or id"
    id_lookup = "pk"
    actions = None

    class Media:
        js = ["conversations/imports.js"]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(IMPORT)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(IMPORT)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        pages = [
            self.page("<uuid:run_id>/piece/", "piece", self.piece_view),
            self.page("<uuid:run_id>/stop/", "stop", self.stop_view),
            self.page("<uuid:run_id>/rejections/", "rejections", self.rejections_view),
        ]
        return [*pages, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ImportRun]:
        staff = User.objects.filter(pk=OuterRef("staff_id")).values("username")
        runs: QuerySet[ImportRun] = super().get_queryset(request).defer("refused")
        return runs.annotate(staff=Subquery(staff))

    def history_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise Http404

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The form, or the page of the new import: to the script of the form, its addresses."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        sent = request.method == "POST"
        form = ImportForm(request.POST, request.FILES) if sent else ImportForm()
        by_script = request.headers.get("Accept") == "application/json"
        if sent and form.is_valid():
            try:
                run = _begin(request, form.cleaned_data)
            except ServiceError as refusal:
                form.add_error(_field_of(refusal), ValidationError(refusal.detail))
            else:
                if by_script:
                    return JsonResponse({"piece": _url("piece", run), "run": _url("change", run)})
                return HttpResponseRedirect(_url("change", run))
        if sent and by_script:
            return JsonResponse({"errors": form.errors})
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": "Import conversations",
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "reason": request.POST.get("reason", ""),
            "reason_wanted": is_reason_wanted(request),
            "piece_bytes": min(PIECE_BYTES, settings.CHAT_MAX_BODY_BYTES),
        }
        return TemplateResponse(request, ADD_TEMPLATE, context)

    @method_decorator(require_POST)
    def piece_view(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        """Bytes of the file: the body. `at` is how many were sent before."""
        try:
            run = add_piece(
                run_id=run_id,
                staff_id=cast(int, request.user.pk),
                at=int(request.GET.get("at", "")),
                data=request.body,
            )
        except ServiceError as refusal:
            return JsonResponse({"errors": {"file": [refusal.detail]}}, status=409)
        except ValueError:
            return JsonResponse({"errors": {"file": ["`at` is not a number."]}}, status=400)
        if run.is_unfinished:
            look_for_imports()
        return JsonResponse({"status": run.status})

    @method_decorator(require_POST)
    def stop_view(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        stop_import(run_id=run_id)
        return HttpResponseRedirect(reverse("admin:conversations_importrun_change", args=[run_id]))

    @method_decorator(require_GET)
    def rejections_view(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponseBase:
        """Those that are kept, as JSON Lines."""
        run = _found(run_id)
        response = StreamingHttpResponse(_lines(run), content_type="application/x-ndjson")
        response["Content-Disposition"] = f'attachment; filename="rejections-{run.pk}.jsonl"'
        response["X-Content-Type-Options"] = "nosniff"
        return response

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """How far the import is, and its report."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if (run_id := uuid_in(object_id)) is None:
            raise Http404(NO_SUCH_IMPORT)
        run = _found(run_id)
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": run.file_name,
            "opts": self.opts,
            "original": run,
            "media": self.media,
            "run": run,
            "owner": _name(run.owner_id),
            "staff": _name(run.staff_id),
            "refused": run.refused[:SHOWN],
            "kept": len(run.refused),
            "formats": sorted(run.formats.items()),
            "percent": 100 * run.position // run.size,
            "may_be_stopped": run.is_unfinished or run.status == ImportStatus.UPLOADING,
        }
        return TemplateResponse(request, RUN_TEMPLATE, context)

    @admin.display(description="begun", ordering="created_at")
    def began(self, run: ImportRun) -> SafeString | None:
        return moment(run.created_at)

    @admin.display(description="file", ordering="file_name")
    def file(self, run: ImportRun) -> SafeString:
        return clipped(run.file_name)

    @admin.display(description="format")
    def format(self, run: ImportRun) -> str:
        """What was recognised; before anything is, what was chosen."""
        return ", ".join(sorted(run.formats)) or run.file_format

    @admin.display(description="status")
    def state(self, run: ImportRun) -> str:
        return f"{run.status} (dry run)" if run.dry_run else run.status

    @admin.display(description="created")
    def made(self, run: ImportRun) -> str:
        return f"{run.created:,}"

    @admin.display(description="extended")
    def grown(self, run: ImportRun) -> str:
        return f"{run.extended:,}"

    @admin.display(description="already stored")
    def known(self, run: ImportRun) -> str:
        return f"{run.already_there:,}"

    @admin.display(description="rejected")
    def refusals(self, run: ImportRun) -> str:
        return f"{run.rejections:,}"

    @admin.display(description="by")
    def by(self, run: ImportRun) -> SafeString:
        return isolated(getattr(run, "staff", None) or "-")


def _begin(request: HttpRequest, values: dict[str, Any]) -> ImportRun:
    file: UploadedFile | None = values["file"]
    name = values["file_name"] if file is None else file.name
    if not name:
        raise InvalidValue(NO_FILE, field="file")
    run = begin_upload(
        access=access_of(request, IMPORT),
        file_name=name,
        size=(values["size"] or 0) if file is None else file.size or 0,
        file_format=values["format"],
        owner=values["owner"],
        owner_field=values["owner_field"],
        namespace=values["namespace"],
        dry_run=values["dry_run"],
    )
    at = 0
    for piece in file.chunks(PIECE_BYTES) if file is not None else ():
        add_piece(run_id=run.pk, staff_id=run.staff_id, at=at, data=piece)
        at += len(piece)
    look_for_imports()
    return run


def _field_of(refusal: ServiceError) -> str | None:
    return refusal.field if refusal.field in ImportForm.base_fields else None


def _url(page: str, run: ImportRun) -> str:
    return reverse(f"admin:conversations_importrun_{page}", args=[run.pk])


def _found(run_id: uuid.UUID) -> ImportRun:
    run = ImportRun.objects.filter(pk=run_id).first()
    if run is None:
        raise Http404(NO_SUCH_IMPORT)
    return run


def _name(user_id: int | None) -> str:
    """A username; "" for nobody, and who was erased."""
    if user_id is None:
        return ""
    return User.objects.filter(pk=user_id).values_list("username", flat=True).first() or ""


def _lines(run: ImportRun) -> Iterator[str]:
    for place, line, reason in run.refused:
        record = {"file": place, "line": line, "reason": reason}
        yield json.dumps(record, ensure_ascii=False) + "\n"
