"""What may be exported, by whom and in which format; `export_batches` makes the text."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

from django.db import transaction
from django.db.models import QuerySet

from conversations.db.replicas import reading_from_now
from conversations.formats import WRITERS, Writer
from conversations.models import AccessAction, AccessContext, Conversation
from conversations.models.rights import EXPORT
from conversations.services.audit import Detail, export_detail, owner_of, wants_reason
from conversations.services.errors import (
    NO_SUCH_CONVERSATION,
    InvalidValue,
    NotAllowed,
    NotFound,
    ReasonRequired,
)
from conversations.services.export_batches import Export, Progress, files_of, one_file
from conversations.services.recorded_chats import ACTIVE, ALL, BRANCHES

__all__ = [
    "ACTIVE",
    "ALL",
    "BRANCHES",
    "export_conversation",
    "export_conversations",
    "export_files",
]

UNKNOWN_FORMAT = "Unknown format. Formats are {formats}."
UNKNOWN_BRANCHES = "Must be `active` or `all`."
MAY_NOT_EXPORT = "You may read this conversation, and may not export it."
ONE_A_FILE = "A file of this format has one conversation: export to a folder, such as -o DIR/."
ONE_BRANCH_A_FILE = "A file of this format has one branch: leave out `branches`."

Sign = Callable[[str], str]


def export_conversations(
    *,
    conversations: QuerySet[Conversation],
    file_format: str,
    access: AccessContext,
    branches: str = ACTIVE,
    owner_id: int | None = None,
    sign: Sign | None = None,
    on_progress: Progress | None = None,
    jobs: int = 1,
) -> Iterator[str]:
    """Yield the text of an export file in chunks, the conversations in order of their ids.

    A format that keeps no tree gets the active path of each conversation, or with `branches="all"`
    each path as a conversation. Stores an AccessRecord for each conversation of somebody else
    that staff export. Holds at most WRITTEN_AT_ONCE messages in memory for each of `jobs`, the
    number of database sessions that write text at once, of which those of formats that the
    database writes may have more than one; they do not see what the caller has not committed.
    Read on a replica that has all that is stored at the call, and on the primary from where
    that one fails. `on_progress` is called with the number of conversations so far. Raises, at
    the call, InvalidValue for an unknown format or choice of branches, for a format with one
    conversation a file where there are several, and ReasonRequired if the settings require a
    reason; `owner_id` is whose all of the conversations are, where that is known. `sign` turns
    the text of each into what is written.
    """
    export = _checked(conversations, file_format, access, branches, owner_id, sign, on_progress)
    if export.writer.one_a_file and conversations.order_by()[:2].count() > 1:
        raise InvalidValue(ONE_A_FILE, field="format")
    return one_file(replace(export, jobs=jobs))


def export_files(
    *,
    conversations: QuerySet[Conversation],
    file_format: str,
    access: AccessContext,
    branches: str = ACTIVE,
    owner_id: int | None = None,
    sign: Sign | None = None,
    on_progress: Progress | None = None,
) -> Iterator[tuple[str, Iterator[str]]]:
    """As `export_conversations`, a file for each conversation: its name, which is its id with an
    extension, and its text, to be read before the next one is taken."""
    export = _checked(conversations, file_format, access, branches, owner_id, sign, on_progress)
    return files_of(export)


def export_conversation(
    *,
    conversation_id: uuid.UUID,
    file_format: str,
    access: AccessContext,
    branches: str = ACTIVE,
) -> Iterator[str]:
    """As `export_conversations`, one that the caller may read. Staff need the right to export for
    that of somebody else. Raises NotFound, NotAllowed, ReasonRequired."""

    def detail(found: Conversation) -> Detail:
        return export_detail(file_format, found.message_count, found.last_branch > 0, left)

    left = None if WRITERS[file_format].keeps_tree else branches
    with transaction.atomic():
        owner = owner_of(access, conversation_id, action=AccessAction.EXPORT, detail=detail)
        caller = access.caller
        if caller and access.leaves_record(owner.pk) and not caller.user.has_perm(EXPORT):
            raise NotAllowed(MAY_NOT_EXPORT)
    rows = Conversation.objects.owned_by(owner.pk).filter(pk=conversation_id)
    if not rows.exists():
        raise NotFound(NO_SUCH_CONVERSATION)
    export = _checked(rows, file_format, access, branches, owner.pk)
    is_one_a_file = WRITERS[file_format].one_a_file and branches == ALL
    if is_one_a_file and rows.filter(branch_count__gt=1).exists():
        raise InvalidValue(ONE_BRANCH_A_FILE, field="branches", code="one_a_file")
    return one_file(replace(export, is_recorded=True))


def _checked(
    conversations: QuerySet[Conversation],
    file_format: str,
    access: AccessContext,
    branches: str,
    owner_id: int | None,
    sign: Sign | None = None,
    on_progress: Progress | None = None,
) -> Export:
    if file_format not in WRITERS:
        raise InvalidValue(UNKNOWN_FORMAT.format(formats=", ".join(WRITERS)), field="format")
    if branches not in BRANCHES:
        raise InvalidValue(UNKNOWN_BRANCHES, field="branches", code="invalid_choice")
    if not access.reason and wants_reason(access, owner_id):
        raise ReasonRequired
    writer, reading = WRITERS[file_format], reading_from_now()
    if sign is not None:
        writer = _signing(writer, sign)
    return Export(conversations, file_format, writer, branches, access, reading, on_progress)


def _signing(writer: Writer, sign: Sign) -> Writer:
    """The same format, with the text of each conversation in memory to sign it."""
    return replace(writer, write=lambda chat: iter([sign("".join(writer.write(chat)))]))
