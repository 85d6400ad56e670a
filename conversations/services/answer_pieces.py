"""How a piece of an answer joins what is stored of it: a new one, a repeated, a late one, or one
that overlaps. Nothing is ever taken from what is stored."""

from __future__ import annotations

from typing import Any

from conversations.services.validators import as_stored


def rest_of_text(length: int, overlap: str, offset: int, text: str) -> str | None:
    """What `text`, which belongs at `offset`, adds to a stored text of `length` characters.

    `overlap` is what is stored from the offset on, as far as the text reaches. None where the
    text does not continue what is stored.
    """
    known = text[: max(length - offset, 0)]
    if offset > length or overlap != known:
        return None
    return text[len(known) :]


def joined_list(
    stored: list[Any], offset: int, items: list[Any], *, last_may_grow: bool
) -> list[Any] | None:
    """The stored list with the items, which belong at `offset`; None where they do not continue it.

    With `last_may_grow` the last stored item may come again with longer texts.
    """
    if offset > len(stored):
        return None
    known = stored[offset : offset + len(items)]
    joined = [*stored, *items[len(known) :]]
    for place, (old, new) in enumerate(zip(known, items, strict=False), start=offset):
        if as_stored(old) == as_stored(new):
            continue
        if not (last_may_grow and place == len(stored) - 1):
            return None
        if _grows(old, new):
            joined[place] = new
        elif not _grows(new, old):  # nor is it a late one
            return None
    return joined


def _grows(old: Any, new: Any) -> bool:
    """Whether two objects differ only in texts that have become longer."""
    if not (isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys()):
        return False
    return all(_continues(old[name], new[name]) for name in old)


def _continues(old: Any, new: Any) -> bool:
    if isinstance(old, str) and isinstance(new, str):
        return new.startswith(old)
    return bool(as_stored(old) == as_stored(new))
