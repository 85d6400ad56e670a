"""Which user a name means: in the namespace of an application, or in none.

The user 3 of the namespace `crm` has the username `crm：3`. The mark between the two is U+FF1A,
which no name can hold: NFKC turns it into a colon, and names that NFKC would change are refused
(`services/users.py`). So a namespace needs no table of its own, and no name of one namespace, of
another or of none can ever mean the same user.
"""

from __future__ import annotations

import re

MARK = "\uff1a"
MAX_USERNAME_CHARS = 150
MAX_NAMESPACE_CHARS = 32
# As large as a number may be that every JSON reader keeps exact: 2**53 - 1.
LARGEST_EXACT_NUMBER = 9_007_199_254_740_991

_canonical_digits = re.compile(r"0|[1-9][0-9]{0,15}")
_namespace = re.compile(r"[a-z0-9][a-z0-9._-]*")


def is_namespace(text: str) -> bool:
    """Lower-case ASCII letters, digits, `.`, `_` and `-`, beginning with a letter or digit."""
    return len(text) <= MAX_NAMESPACE_CHARS and _namespace.fullmatch(text) is not None


def username_of(name: str, namespace: str = "") -> str:
    """The username of the user who is called `name` there."""
    return f"{namespace}{MARK}{name}" if namespace else name


def namespace_of(username: str) -> str:
    """The namespace of a user; "" for one of none."""
    namespace, mark, _ = username.partition(MARK)
    return namespace if mark else ""


def name_of(username: str, namespace: str = "") -> int | str:
    """What a user is called by a caller of this namespace: the `user_id` of the API.

    Canonical digits are given as a number, as long as every JSON reader keeps it exact. A user
    outside of the caller's namespace, such as the caller's own account, is called `：username`.
    """
    if namespace:
        prefix = username_of("", namespace)
        if not username.startswith(prefix):
            return MARK + username
        username = username.removeprefix(prefix)
    if _canonical_digits.fullmatch(username) and int(username) <= LARGEST_EXACT_NUMBER:
        return int(username)
    return username
