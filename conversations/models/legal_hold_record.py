"""LegalHoldRecord: that a hold was placed or released, beside the conversation that it is about."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from conversations.models.conversation import Conversation
from conversations.models.owned import OwnedRow


class LegalHoldRecord(OwnedRow):
    """One hold placed (`on_hold`) or released; the triggers of legal holds ask for the newest.

    The AccessRecord says who and why, and outlives the conversation. This row lies with the
    conversation's owner, where a trigger finds it on a sharded database too, and goes with the
    conversation. Rows are not changed, nor deleted by themselves.
    """

    conversation = models.ForeignKey(
        Conversation,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    on_hold = models.BooleanField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return "placed" if self.on_hold else "released"
