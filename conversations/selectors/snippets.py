"""Snippets: the part of a text around its matches, and matches marked, as safe HTML."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from snowballstemmer import stemmer

from conversations.selectors.search_sql import (
    MAX_TERMS,
    SearchQuery,
    Term,
    cjk_runs,
    fold,
    included_terms,
)

SNIPPET_CHARS = 200
# Characters shown before the match.
_LEAD_CHARS = 60
# Only the first this many matches of a text are marked.
_MAX_HITS = 2_000
# An underscore separates words, as in the parser of PostgreSQL: "order" matches `find_order`.
_WORD = r"[^\W_]"
_word = re.compile(rf"{_WORD}+")
_tag = re.compile(r'<[^>"]*(?:"[^"]*"[^>"]*)*>')
_MAX_IRREGULAR_STEM_CHARS = 3
_spaces = re.compile(r"\s+")
_fold_char = lru_cache(maxsize=10_000)(lambda character: fold(character).casefold())


@lru_cache(maxsize=10_000)
def _stem(word: str) -> str:
    """A stemmer holds the word that it works on, so that threads must not share one."""
    stem: str = stemmer("english").stemWord(word)
    return stem


@dataclass(frozen=True, slots=True)
class _Hit:
    """A matching word or run of CJK characters: its offsets in the text, and its stem."""

    start: int
    end: int
    stem: str


def snippet_of(text: str, query: SearchQuery) -> str:
    """About SNIPPET_CHARS characters of `text` around its rarest matches, as safe HTML with the
    matches in <mark>. The beginning of the text if nothing matches."""
    hits = list(_hits(text, query))
    start, end = _window(text, _best(hits))
    pieces = _marked_pieces(text, hits, start, end)
    shown = _spaces.sub(" ", "".join(pieces)).strip()
    return ("…" if start else "") + shown + ("…" if end < len(text) else "")


def has_match(text: str, query: SearchQuery) -> bool:
    """Whether any word of the text matches an included term."""
    return next(_hits(text, query), None) is not None


def marked(text: str, query: SearchQuery) -> str:
    """The whole text as safe HTML, with the matches in <mark>."""
    return "".join(_marked_pieces(text, list(_hits(text, query)), 0, len(text)))


def marked_html(safe_html: str, query: SearchQuery) -> str:
    """`safe_html` with the matches in its text nodes in <mark>."""
    pieces, at = [], 0
    for tag in _tag.finditer(safe_html):
        between = html.unescape(safe_html[at : tag.start()])
        pieces += [marked(between, query), tag.group()]
        at = tag.end()
    return "".join([*pieces, marked(html.unescape(safe_html[at:]), query)])


def _marked_pieces(text: str, hits: list[_Hit], start: int, end: int) -> Iterator[str]:
    at = start
    for hit in hits:
        if at <= hit.start and hit.end <= end:
            yield html.escape(text[at : hit.start])
            yield f"<mark>{html.escape(text[hit.start : hit.end])}</mark>"
            at = hit.end
    yield html.escape(text[at:end])


def _best(hits: list[_Hit]) -> _Hit | None:
    """The hit that starts the window with the most different stems, weighted by rarity."""
    counts = Counter(hit.stem for hit in hits)
    best, most, beyond = None, 0.0, 0
    for index, hit in enumerate(hits):
        while beyond < len(hits) and hits[beyond].end <= hit.start + SNIPPET_CHARS - _LEAD_CHARS:
            beyond += 1
        near = {other.stem for other in hits[index : min(beyond, index + MAX_TERMS)]} | {hit.stem}
        if (weight := sum(1 / counts[stem] for stem in near)) > most:
            best, most = hit, weight
    return best


def _window(text: str, hit: _Hit | None) -> tuple[int, int]:
    """Start and end of the snippet, at word boundaries if possible."""
    first, last = (hit.start, hit.end) if hit else (0, 0)
    start = max(0, first - _LEAD_CHARS)
    if start:
        space = text.find(" ", start, first)
        start = space + 1 if space >= 0 else start
    end = min(len(text), start + SNIPPET_CHARS)
    if end < len(text):
        space = text.rfind(" ", last or start, end)
        end = space if space > start else end
    return start, max(end, last)


def _hits(text: str, query: SearchQuery) -> Iterator[_Hit]:
    """The hits of the included terms in `text`, in order, at most _MAX_HITS."""
    pattern, stems = _pattern(query)
    if pattern is None:
        return
    folded, offsets = _folded(text)
    found = 0
    for match in pattern.finditer(folded):
        word = match.group("word")
        if word is not None and word not in stems and _stem(word) not in stems:
            continue
        stem = match.group() if word is None else _stem(word)
        yield _Hit(offsets[match.start()], offsets[match.end() - 1] + 1, stem)
        found += 1
        if found == _MAX_HITS:
            return


@lru_cache(maxsize=100)
def _pattern(query: SearchQuery) -> tuple[re.Pattern[str] | None, frozenset[str]]:
    """A pattern of candidates (group `word`, or CJK runs), and the stems that a word must have."""
    terms = included_terms(query)
    words = {word for term in terms for word in _words(term)}
    runs = {run for term in terms for run in cjk_runs(term.text)}
    beginnings = {_common_beginning(word, _stem(word)) for word in words}
    choices = [re.escape(run) for run in sorted(runs, key=len, reverse=True)]
    if beginnings:
        starts = "|".join(map(re.escape, sorted(beginnings, key=len, reverse=True)))
        choices.append(rf"(?<!{_WORD})(?P<word>(?:{starts}){_WORD}*)")
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
    """A prefix of all words with this stem; of short stems ("die": dying) only the first letter."""
    if len(stem) <= _MAX_IRREGULAR_STEM_CHARS:
        return word[:1]
    length = next(
        (i for i, (a, b) in enumerate(zip(word, stem, strict=False)) if a != b),
        min(len(word), len(stem)),
    )
    return word[:length] or word


def _folded(text: str) -> tuple[str, range | list[int]]:
    """The folded text, and for each of its characters the offset in `text`."""
    if text.isascii():
        return text.lower(), range(len(text))
    characters: list[str] = []
    offsets: list[int] = []
    for offset, character in enumerate(text):
        for folded in _fold_char(character):
            characters.append(folded)
            offsets.append(offset)
    return "".join(characters), offsets
