"""The piece of a text that shows why a search found it, as HTML that is safe to show."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from snowballstemmer import stemmer

from conversations.selectors.search_sql import MAX_TERMS, SearchQuery, Term, cjk_runs, fold

SNIPPET_CHARS = 200
_LEAD = 60
# Of more words that match, in one text, the first this many are marked.
_MAX_HITS = 2_000
# An underscore parts words, as the database's parser has it: `find_order` is found by "order".
_WORD = r"[^\W_]"
_word = re.compile(rf"{_WORD}+")
_tag = re.compile(r'<[^>"]*(?:"[^"]*"[^>"]*)*>')
_IRREGULAR = 3
_spaces = re.compile(r"\s+")
_stem = lru_cache(maxsize=10_000)(stemmer("english").stemWord)
_fold_char = lru_cache(maxsize=10_000)(lambda character: fold(character).casefold())


@dataclass(frozen=True, slots=True)
class _Hit:
    """A word or run of characters that matches: its place, and what it is compared as."""

    start: int
    end: int
    word: str


def snippet_of(text: str, query: SearchQuery) -> str:
    """About SNIPPET_CHARS of `text` around its rarest matches, escaped, matches in <mark>."""
    hits = list(_hits(text, query))
    start, end = _window(text, _best(hits))
    pieces = _marked_pieces(text, hits, start, end)
    shown = _spaces.sub(" ", "".join(pieces)).strip()
    return ("…" if start else "") + shown + ("…" if end < len(text) else "")


def has_match(text: str, query: SearchQuery) -> bool:
    """Whether anything of the text would be marked."""
    return next(_hits(text, query), None) is not None


def marked(text: str, query: SearchQuery) -> str:
    """All of the text, escaped, its matches in <mark>."""
    return "".join(_marked_pieces(text, list(_hits(text, query)), 0, len(text)))


def marked_html(safe_html: str, query: SearchQuery) -> str:
    """HTML that is safe already, the matches between its tags in <mark>."""
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
    """The hit to cut before: most of what is asked for follows it closely, rare words first."""
    counts = Counter(hit.word for hit in hits)
    best, most, beyond = None, 0.0, 0
    for place, hit in enumerate(hits):
        while beyond < len(hits) and hits[beyond].end <= hit.start + SNIPPET_CHARS - _LEAD:
            beyond += 1
        near = {other.word for other in hits[place : min(beyond, place + MAX_TERMS)]} | {hit.word}
        if (weight := sum(1 / counts[word] for word in near)) > most:
            best, most = hit, weight
    return best


def _window(text: str, hit: _Hit | None) -> tuple[int, int]:
    """Where to cut: a little before the hit, between words where there are any."""
    first, last = (hit.start, hit.end) if hit else (0, 0)
    start = max(0, first - _LEAD)
    if start:
        space = text.find(" ", start, first)
        start = space + 1 if space >= 0 else start
    end = min(len(text), start + SNIPPET_CHARS)
    if end < len(text):
        space = text.rfind(" ", last or start, end)
        end = space if space > start else end
    return start, max(end, last)


def _hits(text: str, query: SearchQuery) -> Iterator[_Hit]:
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
        known_as = match.group() if word is None else _stem(word)
        yield _Hit(places[match.start()], places[match.end() - 1] + 1, known_as)
        found += 1
        if found == _MAX_HITS:
            return


@lru_cache(maxsize=100)
def _pattern(query: SearchQuery) -> tuple[re.Pattern[str] | None, frozenset[str]]:
    words = {word for term in query.wanted for word in _words(term)}
    runs = {run for term in query.wanted for run in cjk_runs(term.text)}
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
    """What all words of this stem begin with; of short ones ("die": dying) one letter is sure."""
    if len(stem) <= _IRREGULAR:
        return word[:1]
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
