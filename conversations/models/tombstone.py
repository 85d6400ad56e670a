"""Tombstone: the id of something deleted, so that a late retry does not bring it back."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone


class Tombstone(models.Model):
    """A deleted message, or a deleted conversation (where `id` is its own).

    It holds no words. The database deletes it with the owner's account.
    """

    pk = models.CompositePrimaryKey("conversation_id", "id")
    conversation_id = models.UUIDField()
    id = models.UUIDField()
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
    )
    deleted_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return str(self.id)
