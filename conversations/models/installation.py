"""The secret of the installation, and the ids derived with it."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from functools import cache

from django.db import models
from django.db.models import Q

SECRET_BYTES = 32


class InstallationSecret(models.Model):
    """The single row with a random secret, created by `migrate`.

    It is stored in the database, so that a restored copy derives the same ids. Not in the admin.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    value = models.BinaryField(max_length=SECRET_BYTES)

    class Meta:
        constraints = [
            models.CheckConstraint(name="installationsecret_one_row", condition=Q(id=1)),
        ]

    def __str__(self) -> str:
        return "installation secret"


@cache
def _secret() -> bytes:
    """Read once per process."""
    return bytes(InstallationSecret.objects.values_list("value", flat=True).get())


def id_from_key(scope: uuid.UUID | int | str, key: str) -> uuid.UUID:
    """The id for an idempotency key within `scope` (a user's primary key or a conversation's id).

    UUID version 8 (RFC 9562) of an HMAC-SHA256 with the installation's secret. The id is
    deterministic, so a repeated write conflicts with its own row and no table of keys is needed,
    and unpredictable for clients, so that none can claim it in advance.
    """
    message = f"{scope}:{key}".encode()
    digest = bytearray(hmac.digest(_secret(), message, hashlib.sha256)[:16])
    digest[6] = 0x80 | digest[6] & 0x0F
    digest[8] = 0x80 | digest[8] & 0x3F
    return uuid.UUID(bytes=bytes(digest))
