"""Read the files of an import into an `Importer`."""

from __future__ import annotations

from itertools import islice

from conversations.formats import Files, read_files
from conversations.services.imports import Importer


def add_files(
    importer: Importer, files: Files, *, file_format: str, name: str = "", skip: int = 0
) -> None:
    """Add what is in the files but the first `skip` conversations, in this format or in the one
    that each file is recognised as ("auto"); `name` is what a refusal calls them."""
    for found in islice(read_files(files, file_format), skip, None):
        importer.add(found, source=f"import:{getattr(found, 'format', '')}", place=name)
