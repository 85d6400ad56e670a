"""Logging configuration: one JSON object per line, or text lines for a terminal.

The lines of structlog, which are those of the access log, are written by itself: the standard
library's logging would make each cost four times as much. LOG_LEVEL is their level, too.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# Processors of all log lines, from structlog and from the standard library.
_SHARED: list[Processor] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


class _StderrLogger:
    """Writes to the current `sys.stderr`, which may have been replaced since configuration."""

    def __init__(self, name: str) -> None:
        self.name = name

    def msg(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    debug = info = warning = error = critical = msg


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to the current one, too."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def _trace_without_values(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Log the type and the stack of an exception, not its text, which may contain user data."""
    info = event.pop("exc_info", None)
    if isinstance(info, tuple) and info[0] is not None:
        event["exception"] = info[0].__name__
        event["trace"] = [
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(info[2])
        ]
    return event


def _as_json(event: EventDict, **_: Any) -> str:
    return orjson.dumps(event).decode()


def configure(*, level: str, as_json: bool) -> dict[str, Any]:
    """Configure structlog; returns the `LOGGING` setting for the standard library."""
    for_people = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            *_SHARED,
            structlog.processors.JSONRenderer(_as_json) if as_json else for_people,
        ],
        logger_factory=_StderrLogger,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    renderer: Processor = structlog.processors.JSONRenderer() if as_json else for_people
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": [
                    _trace_without_values,
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    renderer,
                ],
            }
        },
        "handlers": {"stderr": {"()": _StderrHandler, "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # The access log has a line for each 4xx response; only errors need more.
            "django.request": {"level": "ERROR"},
            "django.server": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
            # A line for each request to a provider; its failures are in the answers.
            "httpx2": {"level": "WARNING"},
        },
    }
