"""ApiToken: a bearer token of a user."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from conversations.models.ids import new_id
from conversations.models.user_names import MAX_NAMESPACE_CHARS

# The first this many characters of a token are stored in clear text, to identify it.
KEY_CHARS = 15


class ApiToken(models.Model):
    """A token of a user. `digest` is its SHA-512 in hexadecimal; the token itself is not stored.

    A `trusted` token acts for other users: those of its `namespace` ("": those without one). A
    `delegated` token was created by a trusted client for one of its users and never has staff
    rights. `created_by` is a copy of the creator's username, kept after that account is deleted.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    digest = models.CharField(max_length=128, editable=False)
    key = models.CharField(max_length=KEY_CHARS, editable=False)
    # Cascades in the database (migration 0006).
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        related_name="api_tokens",
        db_constraint=False,
    )
    name = models.CharField(max_length=100, default="", blank=True)
    trusted = models.BooleanField(default=False)
    namespace = models.CharField(max_length=MAX_NAMESPACE_CHARS, default="", blank=True)
    delegated = models.BooleanField(default=False)
    created_by = models.CharField(max_length=150, default="", blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API token"
        constraints = [
            # Also the index for authentication.
            models.UniqueConstraint(fields=["digest"], name="apitoken_digest_unique"),
            models.UniqueConstraint(fields=["key"], name="apitoken_key_unique"),
            models.CheckConstraint(name="apitoken_digest_not_empty", condition=~Q(digest="")),
        ]
        indexes = [
            # The list in the admin, newest first.
            models.Index(fields=["-created_at", "-id"], name="apitoken_created_idx"),
        ]

    def __str__(self) -> str:
        return f"{self.key}…"

    @property
    def valid(self) -> bool:
        return self.expires_at is None or self.expires_at > timezone.now()
