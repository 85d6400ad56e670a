"""Files that staff send in pieces to be imported: what is to be done with each, and its bytes."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from conversations.formats import AUTO, FORMATS
from conversations.models import AccessAction, AccessContext, ImportRun, ImportStatus
from conversations.models.import_run import UNFINISHED_IMPORTS
from conversations.services.audit import record_act
from conversations.services.errors import Conflict, InvalidValue, NotFound
from conversations.services.import_owners import NOT_FOR_STAFF
from conversations.services.users import NO_SUCH_USER, check_namespace, find_user
from conversations.services.validators import check_text

MAX_NAME_CHARS = 255
# An upload that has stood still so long is given up.
ABANDONED_AFTER = timedelta(days=1)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

EMPTY_FILE = "The file is empty."
LARGE_FILE = "The file is larger than {limit:,} bytes."
UNKNOWN_FORMAT = "There is no such format."
ONE_OF_BOTH = "Name one owner, or where the file names the owners."
NO_SUCH_IMPORT = "There is no such import, or it was stopped."
ELSEWHERE = "{size:,} bytes of the file have arrived. Send what follows them."


def begin_upload(
    *,
    access: AccessContext,
    file_name: str,
    size: int,
    file_format: str,
    owner: str = "",
    owner_field: str = "",
    namespace: str = "",
    dry_run: bool = False,
) -> ImportRun:
    """Note what is to be imported; its bytes follow (`add_piece`).

    `owner` is the name of an existing user, or `owner_field` as in `OwnersFrom`. Leaves an
    AccessRecord, as it changes somebody's conversations or, in a dry run, tells about them. Raises
    InvalidValue, NotFound and ReasonRequired.
    """
    if access.caller is None:
        raise TypeError("a script imports files by itself")
    check_text("file", file_name)
    if size <= 0:
        raise InvalidValue(EMPTY_FILE, field="file", code="empty")
    if size > settings.CHAT_MAX_IMPORT_BYTES:
        text = LARGE_FILE.format(limit=settings.CHAT_MAX_IMPORT_BYTES)
        raise InvalidValue(text, field="file", code="too_large")
    if file_format not in {AUTO, *FORMATS}:
        raise InvalidValue(UNKNOWN_FORMAT, field="format", code="invalid_choice")
    if bool(owner) == bool(owner_field):
        raise InvalidValue(ONE_OF_BOTH, field="owner")
    check_namespace(namespace)
    check_text("owner_field", owner_field)
    user = _owner(access.caller.user, owner, namespace) if owner else None
    run = ImportRun(
        staff_id=access.caller.user.pk,
        owner_id=user.pk if user else None,
        owner_field=owner_field[:MAX_NAME_CHARS],
        namespace=namespace,
        file_name=file_name[-MAX_NAME_CHARS:],
        file_format=file_format,
        dry_run=dry_run,
        size=size,
    )
    detail = {"import": str(run.pk), "file": run.file_name, "format": file_format}
    with transaction.atomic():
        dry = {"dry_run": True} if dry_run else {}
        record_act(access, AccessAction.CHANGE, owner=user, detail=detail | dry)
        run.save(force_insert=True)
    return run


def _owner(staff: User, name: str, namespace: str) -> User:
    user = find_user(name, namespace=namespace, field="owner")
    if user is None:
        raise NotFound(NO_SUCH_USER, field="owner")
    if user != staff and (user.is_staff or user.is_superuser):
        raise InvalidValue(NOT_FOR_STAFF, field="owner")
    return user


def add_piece(*, run_id: uuid.UUID, staff_id: int, at: int, data: bytes) -> ImportRun:
    """Add bytes to the end of the file; `at` is how many were sent before. It is complete, and
    waits for its import, when all of `size` are there. Bytes that are there are not added again.

    Raises NotFound where this member of staff sends no such file, InvalidValue for more bytes than
    were announced, and Conflict, which says how many there are, if fewer than `at`.
    """
    with transaction.atomic():
        sent = ImportRun.objects.filter(staff_id=staff_id).exclude(status=ImportStatus.STOPPED)
        run = sent.select_for_update().filter(pk=run_id).first()
        if run is None:
            raise NotFound(NO_SUCH_IMPORT)
        path = path_of(run)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        uploading = run.status == ImportStatus.UPLOADING
        there = (path.stat().st_size if path.exists() else 0) if uploading else run.size
        if at + len(data) <= there:
            return run
        if at != there:
            raise Conflict(ELSEWHERE.format(size=there), field="at")
        if there + len(data) > run.size:
            text = LARGE_FILE.format(limit=run.size)
            raise InvalidValue(text, field="file", code="too_large")
        with path.open("ab") as file:
            file.write(data)
        if there + len(data) == run.size:
            run.status = ImportStatus.WAITING
        run.updated_at = timezone.now()
        run.save(update_fields=["status", "updated_at"])
    return run


def stop_import(*, run_id: uuid.UUID) -> bool:
    """Whether it was not at its end yet. What is imported stays."""
    stopped = ImportRun.objects.filter(
        pk=run_id, status__in=[ImportStatus.UPLOADING, *UNFINISHED_IMPORTS]
    ).update(status=ImportStatus.STOPPED, updated_at=timezone.now())
    return bool(stopped)


def forget_imports_of(owner_id: int) -> None:
    """Of an owner who is erased. A row without a name remains of each whose file may be there: by
    it the machine that has the file removes it (`remove_abandoned_uploads`)."""
    runs = ImportRun.objects.filter(owner_id=owner_id)
    runs.filter(status__in=[ImportStatus.UPLOADING, *UNFINISHED_IMPORTS]).update(
        status=ImportStatus.STOPPED, owner_id=None, file_name="", refused=[], error=""
    )
    runs.delete()


def path_of(run: ImportRun) -> Path:
    """Where its file is, on the machine that received it."""
    return Path(settings.CHAT_IMPORTS_DIR) / str(run.pk)


def remove_abandoned_uploads() -> None:
    """Give up uploads that stand still, and remove the files of this machine that nothing waits
    for: those of ended imports, and, after ABANDONED_AFTER, of imports that are not known here."""
    limit = timezone.now() - ABANDONED_AFTER
    still = ImportRun.objects.filter(status=ImportStatus.UPLOADING, updated_at__lt=limit)
    still.update(status=ImportStatus.STOPPED)
    folder = Path(settings.CHAT_IMPORTS_DIR)
    files = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    if not files:
        return
    waiting = {ImportStatus.UPLOADING, *UNFINISHED_IMPORTS}
    runs = ImportRun.objects.filter(pk__in=[name for name in files if _UUID.fullmatch(name)])
    statuses = {str(pk): status for pk, status in runs.values_list("pk", "status")}
    for name, path in files.items():
        # Another database may use the folder too: its files are not for this one to judge.
        known = statuses.get(name)
        if known not in waiting if known else _is_older(path, limit):
            path.unlink(missing_ok=True)


def _is_older(path: Path, limit: datetime) -> bool:
    try:
        return path.stat().st_mtime < limit.timestamp()
    except FileNotFoundError:
        return False
