"""The address of a transcript page: read from the request, and written into links."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, time
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.http import url_has_allowed_host_and_scheme

from conversations.admin.transcript.branches import ShownBranch
from conversations.admin.transcript.queries import TranscriptPage, page_start

# The filters of the list, kept so that the link back leads to the same list.
FILTERS = "_changelist_filters"
# The query whose words are marked, and the sequence of the match that is looked at.
FIND, HIT = "find", "hit"
# The number of the branch that is shown, and a page of the list of all.
BRANCH, BRANCHES = "branch", "branches"
_KEPT = (FILTERS, "raw", FIND)
_LARGEST_SEQUENCE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TranscriptUrl:
    """The address of one page of a transcript. An invalid parameter counts as not given.

    `branch` is the number of the branch that is shown, where the conversation has any: links then
    name it, since the owner may switch to another while staff read.
    """

    request: HttpRequest
    branch: int | None = None

    def on(self, branch: ShownBranch | None) -> TranscriptUrl:
        """The address of a page of this branch."""
        return replace(self, branch=branch.number if branch else None)

    def text(self, name: str) -> str:
        return self.request.GET.get(name, "").strip()

    def sequence(self, name: str) -> int | None:
        text = self.text(name)
        if not (text.isascii() and text.isdigit()):
            return None
        return min(int(text[:12]), _LARGEST_SEQUENCE)

    def moment(self, name: str) -> datetime | None:
        """A date, or a date and time, in the current zone."""
        text = self.text(name)
        try:
            found = parse_datetime(text)
            if found is None and (day := parse_date(text)) is not None:
                found = datetime.combine(day, time.min)
            if found is None:
                return None
            return found if timezone.is_aware(found) else timezone.make_aware(found)
        except (ValueError, OverflowError):
            return None

    @property
    def kept(self) -> dict[str, str]:
        """The parameters that every link within the transcript keeps."""
        kept = {name: self.request.GET[name] for name in _KEPT if self.request.GET.get(name)}
        return kept if self.branch is None else kept | {BRANCH: str(self.branch)}

    @property
    def here(self) -> str:
        """This page itself."""
        if self.branch is None:
            return self.request.get_full_path()
        query = self.request.GET.copy()
        query[BRANCH] = str(self.branch)
        return f"{self.request.path}?{query.urlencode()}"

    def to(self, **parameters: Any) -> str:
        """Another page of this transcript; a parameter of None is left out."""
        kept = {name: value for name, value in self.kept.items() if name not in parameters}
        chosen = {name: value for name, value in parameters.items() if value is not None}
        query = urlencode(chosen | kept)
        return f"{self.request.path}?{query}" if query else self.request.path


def page_links(url: TranscriptUrl, page: TranscriptPage) -> list[tuple[str, str, str | None]]:
    """Links to other pages: label, icon, and the URL where there is such a page."""
    has_previous = page.has_previous
    has_next = page.last is not None and page.last < page.last_of_all
    # An address past the end has no neighbours, but the messages can still be reached.
    is_beyond = not page.messages and page.last_of_all > 0
    end = {"after": page_start(page.last_of_all)}
    if page.branch is not None:
        end = {"before": page.last_of_all + 1}
    return [
        ("First", "first_page", url.to() if has_previous or is_beyond else None),
        ("Previous", "chevron_left", url.to(before=page.first) if has_previous else None),
        ("Next", "chevron_right", url.to(after=page.last) if has_next else None),
        ("Last", "last_page", url.to(**end) if has_next or is_beyond else None),
    ]


def back_url(request: HttpRequest, otherwise: str) -> str:
    """The page that the form was sent from, if it is one of this site."""
    back = request.POST.get("back", "")
    if url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure()):
        return back
    return otherwise
