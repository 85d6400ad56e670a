"""Read the files of an import into an `Importer`."""

from __future__ import annotations

from typing import BinaryIO

from conversations.formats import READERS
from conversations.services.imports import Importer


def add_file(importer: Importer, file: BinaryIO, *, file_format: str, name: str = "") -> None:
    """Add what is in the file; `name` is what a refusal calls it."""
    for chat in READERS[file_format](file):
        importer.add(chat, source=f"import:{file_format}", place=name)
