"""Snippets that several threads of a web process make at the same time."""

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from snowballstemmer import stemmer

from conversations.selectors import snippets

BEGINNINGS = ("relat", "organ", "hesit", "confus", "generat", "hope", "trad", "electr", "sens")
ENDINGS = ("ional", "ization", "ations", "ingly", "fulness", "ities", "edly", "ousness", "icate")
WORDS = [f"{one}{two}{three}" for one, two, three in itertools.product(BEGINNINGS, ENDINGS, "aei")]


@pytest.fixture
def many_switches():
    """From thread to thread, as under load."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_words_are_stemmed_by_several_threads_at_once(many_switches):
    stem = stemmer("english").stemWord
    expected = [stem(word) for word in WORDS]
    for _ in range(3):
        snippets._stem.cache_clear()
        with ThreadPoolExecutor(4) as pool:
            rows = [pool.submit(lambda: [snippets._stem(word) for word in WORDS]) for _ in range(4)]
            assert [row.result() for row in rows] == [expected] * 4
    snippets._stem.cache_clear()
