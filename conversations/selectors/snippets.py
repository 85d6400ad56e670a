"""The piece of a text that shows why a search found it, as HTML that is safe to show."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import lru_cache

from snowballstemmer import stemmer

from conversations.selectors.search_sql import SearchQuery, Term, cjk_runs, fold

SNIPPET_CHARS = 200
_LEAD = 60
_MAX_HITS = 200
_word = re.compile(r"\w+")
_spaces = re.compile(r"\s+")
_stem = lru_cache(maxsize=10_000)(stemmer("english").stemWord)
_fold_char = lru_cache(maxsize=10_000)(lambda character: fold(character).casefold())


def snippet_of(text: str, query: SearchQuery) -> str:
    """About SNIPPET_CHARS of `text` around the first match, escaped, matches in <mark>."""
    hits = list(_hits(text, query))
    start, end = _window(text, hits)
    pieces, at = [], start
    for left, right in hits:
        if at <= left and right <= end:
            pieces += [_shown(text[at:left]), "<mark>", _shown(text[left:right]), "</mark>"]
            at = right
    pieces.append(_shown(text[at:end]))
    return ("…" if start else "") + "".join(pieces).strip() + ("…" if end < len(text) else "")


def _shown(text: str) -> str:
    return html.escape(_spaces.sub(" ", text))


def _window(text: str, hits: list[tuple[int, int]]) -> tuple[int, int]:
    """Where to cut: a little before the first hit, between words where there are any."""
    start = max(0, hits[0][0] - _LEAD) if hits else 0
    if start:
        space = text.find(" ", start, hits[0][0])
        start = space + 1 if space >= 0 else start
    end = min(len(text), start + SNIPPET_CHARS)
    if end < len(text):
        space = text.rfind(" ", hits[0][1] if hits else start, end)
        end = space if space > start else end
    return start, max(end, hits[0][1] if hits else 0)


def _hits(text: str, query: SearchQuery) -> Iterator[tuple[int, int]]:
    """The places in `text`, in order, of the words and characters that the query wants."""
    pattern, stems = _pattern(query)
    if pattern is None:
        return
    folded, places = _folded(text)
    found = 0
    for match in pattern.finditer(folded):
        word = match.group("word")
        if word is not None and word not in stems and _stem(word) not in stems:
            continue
        yield places[match.start()], places[match.end() - 1] + 1
        found += 1
        if found == _MAX_HITS:
            return


def _pattern(query: SearchQuery) -> tuple[re.Pattern[str] | None, frozenset[str]]:
    words = {word for term in query.wanted for word in _words(term)}
    runs = {run for term in query.wanted for run in cjk_runs(term.text)}
    beginnings = {_common_beginning(word, _stem(word)) for word in words}
    choices = [re.escape(run) for run in sorted(runs, key=len, reverse=True)]
    if beginnings:
        starts = "|".join(map(re.escape, sorted(beginnings, key=len, reverse=True)))
        choices.append(rf"(?<!\w)(?P<word>(?:{starts})\w*)")
    else:
        choices.append(r"(?P<word>(?!))")
    found = bool(words or runs)
    return (re.compile("|".join(choices)) if found else None), frozenset(
        words | {_stem(word) for word in words}
    )


def _words(term: Term) -> list[str]:
    folded = fold(term.text).casefold()
    for run in cjk_runs(folded):
        folded = folded.replace(run, " ")
    return _word.findall(folded)


def _common_beginning(word: str, stem: str) -> str:
    length = next(
        (i for i, (a, b) in enumerate(zip(word, stem, strict=False)) if a != b),
        min(len(word), len(stem)),
    )
    return word[:length] or word


def _folded(text: str) -> tuple[str, range | list[int]]:
    """The text as it is compared, and for each of its characters its place in `text`."""
    if text.isascii():
        return text.lower(), range(len(text))
    characters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for folded in _fold_char(character):
            characters.append(folded)
            places.append(place)
    return "".join(characters), places
