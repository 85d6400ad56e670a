"""Run the imports that wait, one at a time, and keep their progress and report in their rows."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from conversations.db.one_at_a_time import unless_elsewhere
from conversations.formats import Files, Rejected
from conversations.models import ImportRun, ImportStatus
from conversations.models.import_run import UNFINISHED_IMPORTS
from conversations.services.import_files import add_files
from conversations.services.import_owners import OWNER, OwnersFrom
from conversations.services.import_uploads import path_of
from conversations.services.imports import Importer, ImportReport

# "import", as the number of an advisory lock: of the one process that imports.
_LOCK = 0x696D706F7274
REFUSED_KEPT = 10_000
FAILED = "The import ended by an error of the server: {name}. What was imported is stored."

log = logging.getLogger(__name__)


class _Stopped(Exception):
    """Somebody has stopped this import, or its row is gone."""


def imports_wait_here() -> bool:
    """Whether there is something to import on this machine, and no process that does it."""
    if not _waiting_here():
        return False
    with unless_elsewhere(_LOCK) as free:
        return free


def run_waiting_imports() -> int:
    """Run those whose files are on this machine, unless another process imports; how many those
    were.

    An import whose process has ended is taken up after the last batch that its row knows of; what
    was stored beyond counts as already stored.
    """
    count = 0
    with unless_elsewhere(_LOCK) as free:
        while free and (waiting := _waiting_here()):
            _run(waiting[0])
            count += 1
    return count


def _waiting_here() -> list[ImportRun]:
    waiting = ImportRun.objects.filter(status__in=UNFINISHED_IMPORTS).order_by("created_at")
    return [run for run in waiting.defer("refused") if path_of(run).exists()]


def _run(run: ImportRun) -> None:
    begun = ImportRun.objects.filter(pk=run.pk, status__in=UNFINISHED_IMPORTS)
    if not begun.update(status=ImportStatus.RUNNING, updated_at=timezone.now()):
        return
    with _ending(run), closing(Files(path_of(run))) as files:
        run.refresh_from_db()
        _import(run, files)


@contextmanager
def _ending(run: ImportRun) -> Iterator[None]:
    """Store how it ended, and remove its file; not where the database went away."""
    status, error = ImportStatus.DONE, ""
    try:
        yield
    except _Stopped:
        status = ImportStatus.STOPPED
    except (OperationalError, InterfaceError):
        raise
    except Exception as defect:
        log.exception("An import has failed: %s", run.pk)
        status, error = ImportStatus.FAILED, FAILED.format(name=type(defect).__name__)
    ended = ImportRun.objects.filter(pk=run.pk, status=ImportStatus.RUNNING)
    ended.update(status=status, error=error, updated_at=timezone.now())
    path_of(run).unlink(missing_ok=True)


def _import(run: ImportRun, files: Files) -> None:
    # A dry run begins anew: what it has seen was kept nowhere.
    before = ImportReport() if run.dry_run else _report_of(run)
    refused = [] if run.dry_run else list(run.refused)

    def note(place: str, rejected: Rejected) -> None:
        if len(refused) < REFUSED_KEPT:
            refused.append([rejected.file, rejected.line, rejected.reason])

    def save(report: ImportReport) -> None:
        values = {name: getattr(report, name) for name in _COUNTS}
        if len(refused) != len(run.refused):
            values["refused"] = run.refused = list(refused)
        running = ImportRun.objects.filter(pk=run.pk, status=ImportStatus.RUNNING)
        if not running.update(**values, position=files.position, updated_at=timezone.now()):
            raise _Stopped

    importer = Importer(
        owners=_owners_of(run), dry_run=run.dry_run, on_rejected=note, on_progress=save
    )
    importer.report = before
    add_files(importer, files, file_format=run.file_format, skip=before.read)
    importer.finish()


_COUNTS = (
    *("read", "created", "extended", "already_there", "rejections", "messages", "tool_calls"),
    "formats",
)


def _report_of(run: ImportRun) -> ImportReport:
    values = {name: getattr(run, name) for name in _COUNTS}
    return ImportReport(**values | {"formats": Counter(run.formats)})


def _owners_of(run: ImportRun) -> int | OwnersFrom:
    if run.owner_id is not None:
        return run.owner_id
    return OwnersFrom(run.owner_field or OWNER, run.namespace)
