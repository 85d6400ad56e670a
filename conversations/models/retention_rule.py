"""RetentionRule: after how long without activity conversations are deleted or emptied."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from conversations.models.ids import new_id
from conversations.models.user_names import MAX_NAMESPACE_CHARS

MAX_RETENTION_DAYS = 36_500


class RetentionAct(models.TextChoices):
    """What is done with a conversation. An emptied one keeps its messages without what was said."""

    DELETE = "delete", "Delete conversations"
    EMPTY = "empty", "Empty messages, keep their counts"


class RetentionRule(models.Model):
    """What `apply_retention` does with conversations whose newest message is older than `days`.

    A conversation has to match all that is given: the model, a tag, the namespace and a group of
    its owner. One on legal hold never matches. A rule does nothing until it is `active`.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=100, unique=True, help_text="Stands in the audit log.")
    act = models.CharField("action", max_length=6, choices=RetentionAct)
    days = models.PositiveIntegerField(
        "days without activity",
        validators=[MinValueValidator(1), MaxValueValidator(MAX_RETENTION_DAYS)],
        help_text="Since the newest message.",
    )
    # A group that a rule names stays: without it the rule would be about everybody.
    group = models.ForeignKey(
        Group,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Only conversations of owners in this group.",
    )
    model_used = models.CharField(
        "model", max_length=255, default="", blank=True, help_text="Only with this model."
    )
    tag = models.CharField(max_length=50, default="", blank=True, help_text="Only with this tag.")
    namespace = models.CharField(
        max_length=MAX_NAMESPACE_CHARS,
        default="",
        blank=True,
        help_text="Only conversations of users in this namespace.",
    )
    keep_pinned = models.BooleanField("leave out pinned conversations", default=True)
    active = models.BooleanField(default=False, help_text="apply_retention applies active rules.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="retentionrule_act_known", condition=Q(act__in=RetentionAct.values)
            ),
            models.CheckConstraint(
                name="retentionrule_days_positive",
                condition=Q(days__gte=1, days__lte=MAX_RETENTION_DAYS),
            ),
            models.CheckConstraint(name="retentionrule_name_not_empty", condition=~Q(name="")),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def limits(self) -> dict[str, Any]:
        """What the rule is limited to, by the name of the column."""
        given = {
            "group": self.group and self.group.name,
            "model": self.model_used,
            "tag": self.tag,
            "namespace": self.namespace,
        }
        return {name: value for name, value in given.items() if value}
