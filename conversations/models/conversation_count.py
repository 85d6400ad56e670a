"""ConversationCount: how many conversations an owner has, without counting them."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from conversations.models.ids import new_id


class ConversationCount(models.Model):
    """A part of the number of an owner's conversations; the sum of the parts is the number.

    Triggers (migration 0030) add to it in the transaction of the write, each to a part that no
    other transaction is writing, or to a new one: so writers never wait for each other, the sum is
    exact in every snapshot, and there are hardly more parts than transactions that wrote at once.
    A part may be negative.
    """

    pk = models.CompositePrimaryKey("user_id", "id")
    id = models.UUIDField(default=new_id, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    number = models.IntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.number:+}"
