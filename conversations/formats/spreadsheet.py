"""Rows of CSV that a spreadsheet opens safely.

RFC 4180: commas, lines that end in CR LF, cells with a comma, a quote or a line break in quotes. A
text that a spreadsheet would take for a formula gets an apostrophe before it, as OWASP advises
("CSV Injection"); so does one that has white space before the sign.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

# The wide forms too, which some spreadsheets take for the others.
_formula = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")


def safe_cell(text: str) -> str:
    """The text, or with an apostrophe before it where it would be a formula."""
    return f"'{text}" if _formula.match(text) else text


def csv_line(cells: Iterable[object]) -> str:
    """None is an empty cell. Texts from outside must be `safe_cell`s."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()
