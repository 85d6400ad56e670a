"""Exports over HTTP: one conversation, and all of the caller's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request

from conversations.api.contracts import SESSIONS
from conversations.api.filters import ConversationFilters
from conversations.api.views import ApiViewSet, choice_of
from conversations.formats import WRITERS
from conversations.models import Conversation
from conversations.services.export import ACTIVE, BRANCHES, export_conversation
from conversations.services.export_zip import export_own

FORMATS = {name: name for name in WRITERS}
PAGES = {name: name for name in ("html", "markdown")}
FORMAT = OpenApiParameter(
    "format", {"type": "string", "enum": list(FORMATS), "default": next(iter(FORMATS))}
)
PAGE_FORMAT = OpenApiParameter(
    "format",
    {"type": "string", "enum": list(PAGES), "default": "html"},
    description="Of the transcripts, one for each conversation.",
)
BRANCHES_TO_WRITE = OpenApiParameter(
    "branches",
    {"type": "string", "enum": list(BRANCHES), "default": ACTIVE},
    description=(
        "Of a conversation with several, in a format that does not keep them: the active one, or "
        "each as a conversation."
    ),
)
_FILE = {
    (200, media_type): OpenApiTypes.ANY if media_type.endswith("json") else OpenApiTypes.STR
    for media_type in sorted({writer.content_type for writer in WRITERS.values()})
}


class ExportViewSet(ApiViewSet):
    """Files, sent as they are made."""

    queryset = Conversation.objects.none()
    query_names = {"retrieve": {"format", "branches"}}
    throttle_kinds: ClassVar[dict[str, str]] = {"retrieve": "export", "own": "export"}

    @extend_schema(
        operation_id="conversations_export",
        tags=["conversations"],
        summary="Download a conversation in a format",
        description=(
            "`jsonl` and `json` have everything that is stored, the reviews of staff only for "
            "staff. Staff need the right to export, and leave a record."
        ),
        parameters=[FORMAT, BRANCHES_TO_WRITE],
        responses=_FILE,
    )
    def retrieve(self, request: Request, **path: str) -> StreamingHttpResponse:
        file_format = choice_of(request, "format", FORMATS)
        key, writer = self.conversation_id, WRITERS[file_format]
        pieces = export_conversation(
            conversation_id=key,
            file_format=file_format,
            branches=choice_of(request, "branches", {name: name for name in BRANCHES}),
            access=self.access,
        )
        parts = (piece.encode() for piece in pieces if piece)
        return _download(parts, writer.content_type, f"{key}.{writer.extension}")


class SessionExportViewSet(ExportViewSet):
    contract = SESSIONS

    @extend_schema(
        operation_id="sessions_export",
        tags=["sessions"],
        summary="Download a session in a format",
        parameters=[FORMAT, BRANCHES_TO_WRITE],
        responses=_FILE,
    )
    def retrieve(self, request: Request, **path: str) -> StreamingHttpResponse:
        return super().retrieve(request, **path)


class OwnExportViewSet(ApiViewSet):
    """Everything that the caller owns."""

    queryset = Conversation.objects.none()
    query_names = {"retrieve": {"format", *ConversationFilters.names()}}
    throttle_kinds: ClassVar[dict[str, str]] = {"retrieve": "export"}
    filterset_class = ConversationFilters
    shows_others = False

    @extend_schema(
        operation_id="me_export",
        tags=["conversations"],
        summary="Download all of the caller's conversations",
        description=(
            "A zip of `conversations.jsonl`, with everything that is stored, and of a transcript "
            "of each conversation. The filters of the list choose among them."
        ),
        parameters=[PAGE_FORMAT],
        filters=True,
        responses={(200, "application/zip"): OpenApiResponse(OpenApiTypes.BINARY)},
    )
    def retrieve(self, request: Request) -> StreamingHttpResponse:
        own = Conversation.objects.owned_by(self.caller.user.pk)
        parts = export_own(
            conversations=ConversationFilters.narrow(request.query_params, own),
            file_format=choice_of(request, "format", PAGES),
            access=self.access,
        )
        name = f"conversations-{timezone.now():%Y%m%d-%H%M%S}.zip"
        return _download(parts, "application/zip", name)


def _download(parts: Iterator[bytes], content_type: str, name: str) -> StreamingHttpResponse:
    is_text = content_type != "application/zip"
    response = StreamingHttpResponse(
        parts, content_type=f"{content_type}; charset=utf-8" if is_text else content_type
    )
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response
