"""ImportRun: the import of a file that a member of staff has sent, and its report."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from conversations.models.ids import new_id


class ImportStatus(models.TextChoices):
    """`uploading` until the file is whole; a `running` import is resumed when its process ends."""

    UPLOADING = "uploading"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


UNFINISHED_IMPORTS = (ImportStatus.WAITING, ImportStatus.RUNNING)


class ImportRun(models.Model):
    """What is imported, for whom and by whom, how far it is, and what was refused.

    `staff_id` and `owner_id` are copies of primary keys, without a name: nobody's who was erased.
    The owner is that user's or, where `owner_field` says so, each conversation's own. Counts and
    `formats` are those of `ImportReport`; `refused` has the first [place, line, reason] of what was
    rejected.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    staff_id = models.BigIntegerField()
    owner_id = models.BigIntegerField(null=True, blank=True)
    owner_field = models.CharField(max_length=255, default="", blank=True)
    namespace = models.CharField(max_length=32, default="", blank=True)
    file_name = models.CharField(max_length=255)
    file_format = models.CharField(max_length=30)
    dry_run = models.BooleanField(default=False)
    status = models.CharField(
        max_length=9, choices=ImportStatus, default=ImportStatus.UPLOADING, editable=False
    )
    # In bytes: of the file, and how many of them are imported.
    size = models.PositiveBigIntegerField()
    position = models.PositiveBigIntegerField(default=0)
    read = models.PositiveBigIntegerField(default=0)
    created = models.PositiveBigIntegerField(default=0)
    # Stored before, with messages added to them.
    extended = models.PositiveBigIntegerField(default=0, db_default=0)
    already_there = models.PositiveBigIntegerField(default=0)
    rejections = models.PositiveBigIntegerField(default=0)
    messages = models.PositiveBigIntegerField(default=0)
    tool_calls = models.PositiveBigIntegerField(default=0)
    # How many conversations were read in each format.
    formats = models.JSONField(default=dict, db_default={})
    refused = models.JSONField(default=list)
    # Why it failed.
    error = models.TextField(default="", blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # While it runs, the time of the last batch.
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        default_permissions = ()
        permissions = [("import_conversation", "Can import conversations")]
        verbose_name = "import"
        constraints = [
            models.CheckConstraint(
                name="importrun_status_known", condition=Q(status__in=ImportStatus.values)
            ),
        ]
        indexes = [
            # The list of imports.
            models.Index(fields=["-created_at", "-id"], name="importrun_created_idx"),
            # What is to be done.
            models.Index(
                fields=["created_at"],
                condition=Q(status__in=["uploading", "waiting", "running"]),
                name="importrun_unfinished_idx",
            ),
        ]

    def __str__(self) -> str:
        return self.file_name

    @property
    def is_unfinished(self) -> bool:
        return self.status in UNFINISHED_IMPORTS
