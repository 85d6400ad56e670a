"""Which messages a branch of a conversation consists of, as arithmetic on sequences.

A message's `branch` is the number of the branch that it was written to. A branch begins with the
messages of the branch that it forked from, up to the fork: its path is a list of segments, each
the messages of one `branch` value up to a sequence. Sequences grow along a path, so that a page
of it is a few ranges of an index, however deep branches are nested.

Branch 0 is the line in which a conversation began. What is written to it after the first fork has
the value CONTINUED: so neither value is interleaved with another, and both are dense ranges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

FIRST_LINE = 0
CONTINUED = -1
# The highest sequence that a column holds.
LAST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Segment:
    """The messages with this `branch`, up to the sequence `until`, or all for None."""

    branch: int
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """The messages with this `branch` and a sequence above `after`, up to `until` inclusive."""

    branch: int
    after: int
    until: int


@dataclass(frozen=True, slots=True)
class Path:
    """The segments of a branch, in order of sequence; only the last may be open."""

    segments: tuple[Segment, ...]

    @classmethod
    def from_json(cls, value: Iterable[Sequence[int | None]]) -> Path:
        """From `[[branch, until], …]`, as stored."""
        return cls(tuple(Segment(branch or 0, until) for branch, until in value))

    def as_json(self) -> list[list[int | None]]:
        return [[segment.branch, segment.until] for segment in self.segments]

    def cut(self, branch: int, sequence: int) -> Path:
        """The path up to a message of it, inclusive."""
        place = [segment.branch for segment in self.segments].index(branch)
        return Path((*self.segments[:place], Segment(branch, sequence)))

    def extended(self, branch: int) -> Path:
        """A path that goes on with messages of `branch`."""
        return Path((*self.segments, Segment(branch)))

    def covers(self, branch: int, sequence: int) -> bool:
        return any(
            range_.branch == branch and range_.after < sequence <= range_.until
            for range_ in self.ranges()
        )

    def ranges(self, after: int = 0, until: int = LAST) -> list[Range]:
        """Those parts of the path whose sequences are above `after` and not above `until`."""
        found, begin = [], 0
        for segment in self.segments:
            end = until if segment.until is None else min(segment.until, until)
            if end > max(begin, after):
                found.append(Range(segment.branch, max(begin, after), end))
            begin = segment.until if segment.until is not None else begin
        return found


LINE = Path((Segment(FIRST_LINE),))
ROOT = Path(())


def number_of(branch: int) -> int:
    """The number of the branch that messages with this `branch` were written to."""
    return FIRST_LINE if branch == CONTINUED else branch
