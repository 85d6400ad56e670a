"""Review: the rating of a message by staff, separate from the rating of the owner."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from conversations.models.conversation import Conversation
from conversations.models.lookups import jsonb_is
from conversations.models.owned import OwnedRow


class Review(OwnedRow):
    """The rating of a message by one reviewer, not visible to the owner. `score` is 1 or -1.

    The reviewer is a copy, not a foreign key. Cascades from the message in the database.
    """

    conversation = models.ForeignKey(
        Conversation,
        on_delete=models.DO_NOTHING,
        related_name="reviews",
        db_constraint=False,
        db_index=False,
    )
    message_id = models.UUIDField()
    reviewer_id = models.BigIntegerField()
    reviewer_name = models.CharField(max_length=150)
    score = models.SmallIntegerField()
    labels = models.JSONField(default=list, blank=True)
    comment = models.TextField(default="", blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            # Also the index for the reviews of a conversation.
            models.UniqueConstraint(
                fields=["user", "conversation", "message_id", "reviewer_id"], name="review_unique"
            ),
            models.CheckConstraint(name="review_score_known", condition=Q(score__in=[-1, 1])),
            models.CheckConstraint(
                name="review_labels_is_array", condition=Q(jsonb_is("labels", "array"))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reviewer_name}: {self.score:+d}"
