"""One thing that `doctor` has looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """`subject` is what was looked at; `remedy`, what to do, is empty only where all is well."""

    subject: str
    level: Level
    text: str
    remedy: str = ""


def ok(subject: str, text: str) -> Finding:
    return Finding(subject, Level.OK, text)


def warning(subject: str, text: str, remedy: str) -> Finding:
    return Finding(subject, Level.WARNING, text, remedy)


def problem(subject: str, text: str, remedy: str) -> Finding:
    return Finding(subject, Level.PROBLEM, text, remedy)
