"""What surrounds the messages of a transcript: what is known of it, and what may be done."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.urls import reverse

from conversations.admin.folds import dumped
from conversations.admin.neighbours import newer_of, older_of
from conversations.admin.place import Place
from conversations.models import Conversation, ConversationNote
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
_RIGHTS = {
    "add_note": ADD_NOTE,
    "archive": ARCHIVE,
    "delete": DELETE,
    "export": EXPORT,
    "hold": HOLD,
    "rate": RATE,
    "view_notes": VIEW_NOTES,
}


def frame_of(
    model_admin: ModelAdmin, place: Place, conversation: Conversation, *, whole: bool = False
) -> dict[str, Any]:
    """The context of the frame; `whole` adds what only readers see: notes and neighbours."""
    request = place.request
    may = {name: request.user.has_perm(right) for name, right in _RIGHTS.items()}
    frame = {
        **model_admin.admin_site.each_context(request),
        "title": conversation.title,
        "opts": model_admin.opts,
        "original": conversation,
        "conversation": conversation,
        "message_count": f"{conversation.message_count:,}",
        "filters": place.filters,
        "may": may,
        "here": request.get_full_path(),
        "act_url": reverse("admin:conversations_conversation_act", args=[conversation.pk]),
        "media": model_admin.media,
    }
    if whole:
        frame |= {
            "metadata": dumped(conversation.metadata) if conversation.metadata else "",
            "newer": newer_of(conversation),
            "older": older_of(conversation),
            "notes": _notes(conversation) if may["view_notes"] else [],
        }
    return frame


def _notes(conversation: Conversation) -> list[ConversationNote]:
    theirs = ConversationNote.objects.filter(conversation=conversation)
    return list(theirs.order_by("created_at")[:NOTES_SHOWN])
