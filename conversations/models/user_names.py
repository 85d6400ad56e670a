"""Usernames of users in a namespace (of an application) and of users without one.

The user 3 of the namespace `crm` has the username `crm：3`. The separator U+FF1A cannot occur in a
name: NFKC replaces it by a colon, and names that are not in NFKC are rejected
(`services/users.py`). So namespaces need no table, and equal names in different namespaces are
different users.
"""

from __future__ import annotations

import re

NAMESPACE_SEPARATOR = "\uff1a"
MAX_USERNAME_CHARS = 150
MAX_NAMESPACE_CHARS = 32
# 2**53 - 1: larger integers lose precision in JSON parsers that use doubles.
LARGEST_EXACT_NUMBER = 9_007_199_254_740_991

_canonical_digits = re.compile(r"0|[1-9][0-9]{0,15}")
_namespace = re.compile(r"[a-z0-9][a-z0-9._-]*")


def is_namespace(text: str) -> bool:
    """Lower-case ASCII letters, digits, `.`, `_` and `-`, beginning with a letter or digit."""
    return len(text) <= MAX_NAMESPACE_CHARS and _namespace.fullmatch(text) is not None


def username_of(name: str, namespace: str = "") -> str:
    """The username of the user `name` of a namespace."""
    return f"{namespace}{NAMESPACE_SEPARATOR}{name}" if namespace else name


def namespace_of(username: str) -> str:
    """The namespace of a username; "" without one."""
    namespace, separator, _ = username.partition(NAMESPACE_SEPARATOR)
    return namespace if separator else ""


def name_of(username: str, namespace: str = "") -> int | str:
    """The name of a user relative to a namespace: the `user_id` of the API.

    Decimal digits without leading zeros become an int up to LARGEST_EXACT_NUMBER. A user outside
    the namespace, such as the caller's own account, is `：username`.
    """
    if namespace:
        prefix = username_of("", namespace)
        if not username.startswith(prefix):
            return NAMESPACE_SEPARATOR + username
        username = username.removeprefix(prefix)
    if _canonical_digits.fullmatch(username) and int(username) <= LARGEST_EXACT_NUMBER:
        return int(username)
    return username
