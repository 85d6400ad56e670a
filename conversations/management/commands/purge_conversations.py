"""`purge_conversations`: delete the conversations that are older than an age, once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from conversations.management.arguments import (
    INTERRUPTED,
    USAGE_ERROR,
    add_epilog,
    add_json_argument,
    age,
    print_json,
)
from conversations.management.progress import progress_bar
from conversations.management.removals import (
    DRY_RUN,
    REST_REMAINS,
    say_waiting,
    shown_preview,
    shown_removed,
)
from conversations.models import AccessContext, RetentionAct
from conversations.models.user_names import is_namespace
from conversations.selectors.retention import Due, count_due
from conversations.services.audit import clean_reason
from conversations.services.errors import InvalidValue, NotFound, ServiceError
from conversations.services.retention import purge_conversations
from conversations.services.users import BAD_NAMESPACE, find_user

NO_SUCH_USER = "There is no user of this name."

EPILOG = """
The age of a conversation is the time since its newest message. Conversations on legal hold are left
out, and those with a running answer. The command works in short transactions, beside those who
write: a conversation that somebody writes to meanwhile is left. Each step stands in the audit log,
and each deletion in the feed of changes. Stopped, it can be run again for the rest. Exit status: 0
if all is done, 2 if it could not run.

Examples:
  manage.py purge_conversations --older-than 90d --dry-run
  manage.py purge_conversations --older-than 2w --user alice --keep-pinned
  manage.py purge_conversations --older-than 1y --namespace crm --reason "contract ended" --json
"""


class Command(BaseCommand):
    help = "Delete the conversations without activity for some time, once."

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        parser.add_argument(
            "--older-than",
            type=age,
            required=True,
            metavar="AGE",
            help="without a newer message: 12h, 90d, 2w or 1y",
        )
        parser.add_argument("--user", help="only the conversations of the user of this name")
        parser.add_argument(
            "--namespace", default="", help="that of the user; without --user: of all its users"
        )
        parser.add_argument("--keep-pinned", action="store_true", help="leave out pinned ones")
        parser.add_argument("--dry-run", action="store_true", help="only count, delete nothing")
        parser.add_argument("--reason", default="", help="stands in the audit log")
        add_json_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            due = _due(options)
        except ServiceError as error:
            text = f"--{error.field or 'user'}: {error.detail}"
            raise CommandError(text, returncode=USAGE_ERROR) from error
        try:
            result = self._count(due) if options["dry_run"] else self._purge(due, options["reason"])
        except KeyboardInterrupt:
            raise CommandError(REST_REMAINS, returncode=INTERRUPTED) from None
        if options["json"]:
            print_json(self, {"dry_run": options["dry_run"], **result})

    def _count(self, due: Due) -> dict[str, Any]:
        found = count_due(due)
        self.stderr.write(f"{DRY_RUN} {shown_preview(found, due.act)}")
        return found

    def _purge(self, due: Due, reason: str) -> dict[str, Any]:
        access = AccessContext(None, reason=clean_reason(reason))
        with progress_bar(due.conversations().count()) as show:
            removed = purge_conversations(
                due=due,
                access=access,
                on_wait=say_waiting(self),
                on_progress=lambda done: show(done, f"{done:,} deleted"),
            )
        self.stderr.write(shown_removed(removed, due.act), self.style.SUCCESS)
        return removed.as_counts()


def _due(options: dict[str, Any]) -> Due:
    """Raises NotFound and InvalidValue."""
    name, namespace = options["user"], options["namespace"]
    owner = find_user(name, namespace=namespace) if name is not None else None
    if name is not None and owner is None:
        raise NotFound(NO_SUCH_USER, field="user")
    if namespace and not is_namespace(namespace):
        raise InvalidValue(BAD_NAMESPACE, field="namespace")
    return Due(
        act=RetentionAct.DELETE,
        before=timezone.now() - options["older_than"],
        owner_id=owner.pk if owner else None,
        namespace="" if owner else namespace,
        keep_pinned=options["keep_pinned"],
    )
