"""Branch: one way through a conversation that has more than one."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import OuterRef, Q
from django.db.models.expressions import RawSQL
from django.utils import timezone

from conversations.models.branch_path import Path
from conversations.models.conversation import Conversation
from conversations.models.lookups import jsonb_is


class BranchQuerySet(models.QuerySet["Branch"]):
    def of(
        self, owner_id: int | RawSQL | OuterRef, conversation_id: uuid.UUID | RawSQL | OuterRef
    ) -> BranchQuerySet:
        """The branches of one conversation; none where it has a single line."""
        return self.filter(user_id=owner_id, conversation_id=conversation_id)


class Branch(models.Model):
    """A branch with the segments of its path (`branch_path.py`); none without forks.

    `fork_branch` and `fork_sequence` are the place of the message that the branch forked after;
    the sequence is 0 for a second beginning and for branch 0. `length` counts the messages of the
    path; `last_sequence` is that of the newest one ever appended, or of the fork.
    """

    pk = models.CompositePrimaryKey("user_id", "conversation_id", "number")
    # Referred to together with the conversation: the database cascades (docs/scale.md).
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    conversation = models.ForeignKey(
        Conversation,
        on_delete=models.DO_NOTHING,
        related_name="branches",
        db_constraint=False,
        db_index=False,
    )
    number = models.SmallIntegerField()
    parent = models.SmallIntegerField(null=True)
    fork_branch = models.SmallIntegerField(default=0)
    fork_sequence = models.PositiveIntegerField(default=0)
    segments = models.JSONField()
    last_sequence = models.PositiveIntegerField()
    length = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    objects = BranchQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "branches"
        constraints = [
            models.CheckConstraint(name="branch_number_known", condition=Q(number__gte=0)),
            models.CheckConstraint(
                name="branch_segments_is_array", condition=Q(jsonb_is("segments", "array"))
            ),
        ]
        indexes = [
            # The branches that fork after the messages of a page.
            models.Index(fields=["user", "conversation", "fork_sequence"], name="branch_fork_idx"),
        ]

    def __str__(self) -> str:
        return f"branch {self.number}"

    @property
    def path(self) -> Path:
        return Path.from_json(self.segments)

    @property
    def written_to(self) -> int:
        """The `branch` of messages that are appended to it."""
        return int(self.segments[-1][0])
