"""AccessRecord: the audit log of staff access to conversations of other users."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from conversations.models.ids import new_id


class AccessAction(models.TextChoices):
    """The kind of access. CHANGE is any write except DELETE and HOLD."""

    READ = "read"
    SEARCH = "search"
    EXPORT = "export"
    CHANGE = "change"
    DELETE = "delete"
    HOLD = "hold"


class AccessRecord(models.Model):
    """One access by a member of staff to conversations of another user.

    Ids and names are copies, not foreign keys: rows are kept after the conversation and the users
    are deleted. A trigger rejects UPDATE and DELETE (migration 0004).
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    staff_id = models.BigIntegerField(null=True, blank=True)
    staff_name = models.CharField(max_length=150)
    action = models.CharField(max_length=6, choices=AccessAction)
    owner_id = models.BigIntegerField(null=True, blank=True)
    owner_name = models.CharField(max_length=150, default="", blank=True)
    conversation_id = models.UUIDField(null=True, blank=True)
    detail = models.JSONField(default=dict, blank=True)
    reason = models.TextField(default="", blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "audit log entry"
        verbose_name_plural = "audit log"
        constraints = [
            models.CheckConstraint(
                name="accessrecord_action_known",
                condition=models.Q(action__in=AccessAction.values),
            ),
        ]
        indexes = [
            # The audit log, newest first: all entries, those of one staff account, of one owner.
            models.Index(fields=["-created_at", "-id"], name="accessrecord_created_idx"),
            models.Index(fields=["staff_id", "-created_at"], name="accessrecord_staff_idx"),
            models.Index(fields=["owner_id", "-created_at"], name="accessrecord_owner_idx"),
            # The audit log of one conversation.
            models.Index(
                fields=["conversation_id", "-created_at"], name="accessrecord_conversation_idx"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.staff_name} {self.action} {self.conversation_id or self.owner_name}"
