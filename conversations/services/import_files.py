"""Read the files of an import into an `Importer`."""

from __future__ import annotations

from itertools import islice
from typing import BinaryIO

from conversations.formats import READERS
from conversations.services.imports import Importer


def add_file(
    importer: Importer, file: BinaryIO, *, file_format: str, name: str = "", skip: int = 0
) -> None:
    """Add what is in the file but the first `skip` conversations; `name` is what a refusal calls
    it."""
    for chat in islice(READERS[file_format](file), skip, None):
        importer.add(chat, source=f"import:{file_format}", place=name)
