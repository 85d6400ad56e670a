"""Tables of the commands: columns of text, numbers to the right."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.management.base import BaseCommand


def print_table(
    command: BaseCommand, head: Sequence[str] | None, rows: Sequence[Sequence[str]]
) -> None:
    """On standard output. All rows have as many cells; `head` is in the first line."""
    lines = [*([head] if head is not None else []), *rows]
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numeric = [all(map(_is_number, column[head is not None :])) for column in columns]
    for line in lines:
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        command.stdout.write("  ".join(cells).rstrip())


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").replace(".", "").split(" ")[0].isdigit()
