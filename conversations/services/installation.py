"""What an installation has once, made by `migrate`."""

from __future__ import annotations

import secrets

from conversations.models import InstallationSecret
from conversations.models.installation import SECRET_BYTES


def ensure_secret() -> None:
    """Make the installation's secret where there is none."""
    InstallationSecret.objects.get_or_create(
        pk=1, defaults={"value": secrets.token_bytes(SECRET_BYTES)}
    )
