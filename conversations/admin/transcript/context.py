"""What surrounds the messages of a transcript: what is known of it, and what may be done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.admin import ModelAdmin
from django.urls import reverse

from conversations.admin.conversation.legal_holds import placed_by
from conversations.admin.conversation.listed import newer_of, older_of
from conversations.admin.conversation.opened import Opened
from conversations.admin.formatting import named_visibly, visible_text
from conversations.admin.transcript.collapsible import dumped
from conversations.admin.transcript.navigation import Place
from conversations.admin.transcript.queries import TOTALLED, Totals, read_totals
from conversations.admin.username_urls import owner_url
from conversations.models import ConversationNote
from conversations.models.rights import (
    ADD_NOTE,
    ARCHIVE,
    DELETE,
    EXPORT,
    HOLD,
    RATE,
    VIEW_NOTES,
)

NOTES_SHOWN = 100
MODELS_SHOWN = 5
_RIGHTS = {
    "add_note": ADD_NOTE,
    "archive": ARCHIVE,
    "delete": DELETE,
    "export": EXPORT,
    "hold": HOLD,
    "rate": RATE,
    "view_notes": VIEW_NOTES,
}


# What a legal hold refuses is not offered.
_CHANGES = ("archive", "delete", "rate")


def frame_of(model_admin: ModelAdmin, place: Place, conversation: Opened) -> dict[str, Any]:
    """The context of the frame, notes and neighbours included."""
    request = place.request
    may = {name: request.user.has_perm(right) for name, right in _RIGHTS.items()}
    if conversation.legal_hold:
        may |= dict.fromkeys(_CHANGES, False)
    hold_page = "release" if conversation.legal_hold else "hold"
    return {
        **model_admin.admin_site.each_context(request),
        "title": visible_text(conversation.title),
        "opts": model_admin.opts,
        "original": named_visibly(conversation, "title"),
        "conversation": conversation,
        "message_count": f"{conversation.message_count:,}",
        "filters": place.filters,
        "may": may,
        "here": request.get_full_path(),
        "act_url": reverse("admin:conversations_conversation_act", args=[conversation.pk]),
        "hold_url": reverse(
            f"admin:conversations_conversation_{hold_page}", args=[conversation.pk]
        ),
        "owner_url": owner_url(conversation.user.username),
        "media": model_admin.media,
        "metadata": dumped(conversation.metadata) if conversation.metadata else "",
        "newer": newer_of(conversation),
        "older": older_of(conversation),
        "notes": _notes(conversation) if may["view_notes"] else [],
        "summary": list(_summary(conversation, read_totals(conversation))),
        "placed": placed_by(conversation) if conversation.legal_hold else None,
    }


def _summary(conversation: Opened, totals: Totals) -> Iterator[tuple[str, str]]:
    """Label and value of each figure that is known."""
    if totals.prompt_tokens or totals.completion_tokens:
        tokens = f"{totals.prompt_tokens:,} in, {totals.completion_tokens:,} out"
        yield "Tokens", tokens
    models = sorted(totals.models)[:MODELS_SHOWN] or [conversation.model_used or "No data"]
    yield ("Model" if len(models) == 1 else "Models"), ", ".join(models)
    if totals.seconds:
        yield "Duration", duration(totals.seconds)
    if totals.good or totals.bad:
        yield "Ratings", f"{totals.good:,} good, {totals.bad:,} bad"
    if totals.bounded:
        yield "Totals", f"of the newest {TOTALLED:,} messages"


def duration(seconds: float) -> str:
    """The two largest units: `2 d 4 h`, `5 min 12 s`."""
    left, parts = round(seconds), []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if left >= length:
            parts.append(f"{left // length} {unit}")
            left %= length
    return " ".join(parts[:2]) or "under 1 s"


def _notes(conversation: Opened) -> list[ConversationNote]:
    theirs = ConversationNote.objects.filter(conversation=conversation)
    return list(theirs.order_by("created_at")[:NOTES_SHOWN])
