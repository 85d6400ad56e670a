"""A username as one segment of a URL, whatever characters it has."""

from __future__ import annotations

import re

from django.urls import register_converter, reverse

# Browsers and proxies take `.`, `..` and `/` in a path for steps in it, encoded or not. Each
# character that is written otherwise stands between two of this one, as its hexadecimal number.
_MARK = "_"
_written_otherwise = re.compile(r"^\.|[^\w.@+\-\uff1a]|_")
_number = re.compile(rf"{_MARK}([0-9a-f]{{1,6}}){_MARK}")


class UsernameConverter:
    """`jane/doe` is `jane_2f_doe`; a name without such characters is itself."""

    regex = "[^/].*"

    def to_python(self, value: str) -> str:
        """ValueError, which Django takes for no such page, for what no name can hold."""
        name = _number.sub(lambda found: chr(int(found[1], 16)), value)
        if "\0" in name:
            raise ValueError("no name holds a NUL")
        name.encode()  # refuses half of a surrogate pair
        return name

    def to_url(self, value: str) -> str:
        return _written_otherwise.sub(lambda found: f"{_MARK}{ord(found[0]):x}{_MARK}", value)


def owner_url(username: str) -> str:
    """The page of one owner."""
    return reverse("admin:conversations_conversation_owner", args=[username])


register_converter(UsernameConverter, "username")
