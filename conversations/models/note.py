"""ConversationNote: a note of staff on a conversation, not visible to its owner."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from conversations.models.conversation import Conversation
from conversations.models.owned import OwnedRow


class ConversationNote(OwnedRow):
    """A note. The author is a copy, not a foreign key: notes outlive staff accounts."""

    # Cascades in the database (migration 0004).
    conversation = models.ForeignKey(
        Conversation,
        on_delete=models.DO_NOTHING,
        related_name="notes",
        db_constraint=False,
        db_index=False,
    )
    author_id = models.BigIntegerField(null=True, blank=True)
    author_name = models.CharField(max_length=150)
    text = models.TextField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(name="conversationnote_text_not_empty", condition=~Q(text="")),
        ]
        indexes = [
            # The notes of a conversation, oldest first.
            models.Index(
                fields=["user", "conversation", "created_at"], name="conversationnote_idx"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.author_name}: {self.text[:50]}"
