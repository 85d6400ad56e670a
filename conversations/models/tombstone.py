"""Tombstone: the id of a deleted row, so that a late retry does not create it again."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from conversations.models.owned import OwnedRow


class Tombstone(OwnedRow):
    """A deleted message, or a deleted conversation (`id` equals `conversation_id`).

    Contains no content. Cascades from the owner's account in the database.
    """

    conversation_id = models.UUIDField()
    id = models.UUIDField()
    deleted_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        # Has a conversation of anybody's had this id?
        indexes = [models.Index(fields=["id"], name="tombstone_id_idx")]

    def __str__(self) -> str:
        return str(self.id)
