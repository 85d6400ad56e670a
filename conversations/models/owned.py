"""OwnedRow: the key of every table whose rows belong to a conversation and so to its owner."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from conversations.models.ids import new_id


class OwnedRow(models.Model):
    """A row of a conversation's owner, who never changes: every key begins with them."""

    pk = models.CompositePrimaryKey("user_id", "conversation_id", "id")
    id = models.UUIDField(default=new_id, editable=False)
    # Referred to together with the conversation: the database cascades (docs/scale.md).
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )

    class Meta:
        abstract = True
