"""Detect invisible characters and those that change how others are displayed."""

from __future__ import annotations

import unicodedata

# Control, format (such as zero-width and bidirectional), unassigned, private use, surrogate, and
# the line and paragraph separators.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
# Other characters with the property Default_Ignorable_Code_Point, and the Braille blank.
_IGNORABLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0\u2800")
_VARIATION_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


def is_hidden(char: str) -> bool:
    """Whether the character is invisible to a reader."""
    if char.isascii():
        return not char.isprintable()
    return (
        unicodedata.category(char) in _HIDDEN_CATEGORIES
        or char in _IGNORABLE
        or any(ord(char) in selectors for selectors in _VARIATION_SELECTORS)
    )


def described(char: str) -> str:
    """`U+00A0 (NO-BREAK SPACE)`."""
    return f"U+{ord(char):04X} ({unicodedata.name(char, 'no name')})"
