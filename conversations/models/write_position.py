"""WritePosition: where the write-ahead log was after the last write to a user's data."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class WritePosition(models.Model):
    """Kept where replicas are configured (`db/write_positions.py`). `position` counts bytes of
    the log, as `pg_lsn - '0/0'` does."""

    # The database cascades, as it does for conversations.
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
    )
    position = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.user_id}: {self.position}"
