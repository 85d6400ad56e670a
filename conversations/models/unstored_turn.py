"""UnstoredTurn: that a turn ran of which nothing was to be kept, and what it used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.utils import timezone

from conversations.models.conversation import owned_within_reach
from conversations.models.ids import new_id
from conversations.models.message import Status

if TYPE_CHECKING:
    from conversations.models.access_context import AccessContext


class UnstoredTurnQuerySet(models.QuerySet["UnstoredTurn"]):
    def visible_to(self, access: AccessContext) -> UnstoredTurnQuerySet:
        """Those that the caller may read, as for conversations."""
        caller = access.caller
        return self.filter(owned_within_reach(caller, caller is not None and caller.reader))


class UnstoredTurn(models.Model):
    """The counts of a turn with `store: false`, without anything that was said.

    Columns have the names and meanings of a message's, summed over the turn's answers. Cascades
    from the owner's account in the database.
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
    provider = models.CharField(max_length=100)
    model = models.CharField(max_length=255)
    status = models.CharField(max_length=11, choices=Status)
    finish_reason = models.CharField(max_length=50, null=True)
    prompt_tokens = models.PositiveBigIntegerField(null=True)
    completion_tokens = models.PositiveBigIntegerField(null=True)
    cached_tokens = models.PositiveBigIntegerField(null=True)
    reasoning_tokens = models.PositiveBigIntegerField(null=True)
    cost = models.DecimalField(max_digits=20, decimal_places=12, null=True)
    latency_ms = models.PositiveIntegerField(null=True)
    first_token_ms = models.PositiveIntegerField(null=True)
    # When the turn ended.
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = UnstoredTurnQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        # The figures of the dashboard.
        indexes = [models.Index(fields=["created_at"], name="unstoredturn_created_idx")]

    def __str__(self) -> str:
        return f"{self.model} {self.created_at:%Y-%m-%d}"
