"""Tombstone: the id of a deleted row, so that a late retry does not create it again."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone


class Tombstone(models.Model):
    """A deleted message, or a deleted conversation (`id` equals `conversation_id`).

    Contains no content. Cascades from the owner's account in the database.
    """

    pk = models.CompositePrimaryKey("user_id", "conversation_id", "id")
    conversation_id = models.UUIDField()
    id = models.UUIDField()
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    deleted_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        # Has a conversation of anybody's had this id?
        indexes = [models.Index(fields=["id"], name="tombstone_id_idx")]

    def __str__(self) -> str:
        return str(self.id)
