"""Where in a transcript somebody is: read from the address, and written into the next one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.http import url_has_allowed_host_and_scheme

# The list's filters, carried along so that the way back leads to the same list.
FILTERS = "_changelist_filters"
# The words that are marked, and the message that has them and is looked at.
FIND, HIT = "find", "hit"
_KEPT = (FILTERS, "raw", FIND)
_LARGEST_SEQUENCE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """The address of one page of a transcript. Whatever is not valid counts as not given."""

    request: HttpRequest

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
    def raw(self) -> bool:
        """Whether messages are shown as they were written, not laid out."""
        return self.text("raw") == "1"

    @property
    def filters(self) -> str:
        return self.request.GET.get(FILTERS, "")

    @property
    def elsewhere(self) -> str:
        """What a sequence is put behind, to get to the page that holds it."""
        return f"?{urlencode(self._kept | {'at': ''})}"

    @property
    def _kept(self) -> dict[str, str]:
        return {name: self.request.GET[name] for name in _KEPT if self.request.GET.get(name)}

    def url(self, **parameters: Any) -> str:
        """This transcript elsewhere; a parameter of None is left out."""
        kept = {name: value for name, value in self._kept.items() if name not in parameters}
        chosen = {name: value for name, value in parameters.items() if value is not None}
        query = urlencode(chosen | kept)
        return f"{self.request.path}?{query}" if query else self.request.path


def back_url(request: HttpRequest, otherwise: str) -> str:
    """Where the form was, if that is a page of this site."""
    back = request.POST.get("back", "")
    if url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure()):
        return back
    return otherwise
