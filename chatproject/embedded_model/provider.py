"""The embedded model as a provider: started on demand, one server process for all workers."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from chatproject.embedded_model import model_at


def start() -> tuple[str, str]:
    """Its base URL and key. Raises EmbeddedModelError, which says what to install."""
    model = model_at(Path(settings.DATA_DIR) / "model")
    return model.acquire(), model.api_key
