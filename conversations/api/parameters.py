"""Path, query and header parameters that several operations of the OpenAPI page share.

The filters of the lists are not among them: they come from the filtersets (filters.py).
"""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from conversations.api.errors import REASON_HEADER
from conversations.api.fields import USER
from conversations.api.filters import METADATA
from conversations.api.pagination import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from conversations.api.times import TIME_SCHEMA
from conversations.models import Role
from conversations.models.user_names import LARGEST_EXACT_NUMBER
from conversations.services.audit import MAX_REASON_CHARS
from conversations.services.branch_placement import MAX_BRANCHES

_WHOSE = "The owner's name, as the caller knows it. Without it, the caller."
USER_ID = OpenApiParameter(
    "user_id",
    USER,
    description=(
        f"{_WHOSE} Another user requires a trusted client or staff; `*` means all users whom "
        "the caller may see."
    ),
)
OWNER_ID = OpenApiParameter(
    "user_id",
    USER,
    description=(
        f"{_WHOSE} Another user requires a trusted client, whose first write creates that user."
    ),
)
USER_PATH = OpenApiParameter(
    "user", USER, OpenApiParameter.PATH, description="The owner's name, as the caller knows it."
)
CURSOR = OpenApiParameter(
    "cursor", OpenApiTypes.STR, description="`next_cursor` or `previous_cursor` of this list."
)
PAGE_SIZE = OpenApiParameter(
    "page_size",
    {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_PAGE_SIZE},
)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    OpenApiParameter.HEADER,
    description=(
        "Makes the request repeatable: the same key and body again answer 200 with what is "
        "stored, another body 409."
    ),
)

MERGING = (
    "As `application/json`, `metadata` replaces what is stored. As `application/merge-patch+json` "
    "(RFC 7386) it is merged: a null removes its key, and other keys stay."
)
ACCESS_REASON = OpenApiParameter(
    REASON_HEADER,
    {"type": "string", "maxLength": MAX_REASON_CHARS},
    OpenApiParameter.HEADER,
    description=(
        "Reason for staff access to another user's conversation; kept in the AccessRecord. "
        "Required where CHAT_REQUIRE_READ_REASON is set: requests without it answer 403."
    ),
)


def _text(name: str, description: str = "", **schema: object) -> OpenApiParameter:
    return OpenApiParameter(name, {"type": "string", **schema}, description=description)


def _time(name: str) -> OpenApiParameter:
    bound = "from this time on" if name.endswith("after") else "before this time"
    return OpenApiParameter(
        name, TIME_SCHEMA, description=f"Only what was {name.split('_')[0]} {bound} (ISO 8601)."
    )


METADATA_VALUES = OpenApiParameter(
    METADATA,
    {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "propertyNames": {"pattern": "^[A-Za-z0-9_.-]+$"},
    },
    style="deepObject",
    explode=True,
    description=(
        "`metadata[topic]=travel`: the conversation's `metadata` has this value under the key at "
        "its top level: a text, a number, true, false or null. Of several keys, all."
    ),
)
CONVERSATION_LISTING = [
    METADATA_VALUES,
    OpenApiParameter(
        "order",
        {
            "type": "string",
            "enum": ["-updated_at", "updated_at", "-created_at", "created_at"],
            "default": "-updated_at",
        },
        description="`-` is newest first. `updated_at` is the time of the newest message.",
    ),
    CURSOR,
    PAGE_SIZE,
]
BRANCH = OpenApiParameter(
    "branch",
    {
        "oneOf": [
            {"type": "string", "enum": ["active", "all"]},
            {"type": "integer", "minimum": 0, "maximum": MAX_BRANCHES},
        ],
        "default": "active",
    },
    description=(
        "Which messages: those of the active branch, of the branch with this number, or `all`, by "
        "sequence."
    ),
)
MESSAGE_LISTING = [
    BRANCH,
    OpenApiParameter(
        "order",
        {"type": "string", "enum": ["asc", "desc"], "default": "asc"},
        description="By sequence: `asc` from the first message, `desc` from the last one back.",
    ),
    CURSOR,
    PAGE_SIZE,
]
MESSAGE_AS_QUERY = [
    _text("role", "Without a body, the role. Discouraged.", enum=Role.values),
    _text("content", "Without a body, the text. Discouraged: access logs keep query strings."),
    _text("tool_calls", "Without a body, the tool calls as a JSON list. Discouraged."),
]
SEARCH = [
    OpenApiParameter(
        "q",
        {"type": "string", "minLength": 1, "maxLength": 500, "pattern": r"\S"},
        required=True,
        description=(
            'Words, "a phrase", -excluded, OR. Words are found stemmed as English and as they '
            "stand, accents do not matter, Chinese, Japanese and Korean text is found by its "
            "characters. A query of stop words alone finds nothing."
        ),
    ),
    OpenApiParameter(
        "user_id",
        USER,
        description=(
            "Whose conversations: the caller's, unless a trusted client or staff names another "
            "user, or `*` for everybody."
        ),
    ),
    OpenApiParameter("conversation_id", OpenApiTypes.UUID),
    _text("role", "Only messages of this role; titles are left out.", enum=Role.values),
    OpenApiParameter(
        "rating",
        {"type": "integer", "enum": [1, -1]},
        description="Only messages with this rating; titles are left out.",
    ),
    METADATA_VALUES,
    _time("created_after"),
    _time("created_before"),
    CURSOR,
    PAGE_SIZE,
]
CHANGES = [
    OpenApiParameter(
        "after",
        {
            "oneOf": [
                {"type": "integer", "minimum": 0, "maximum": LARGEST_EXACT_NUMBER},
                {"type": "string", "enum": ["now"]},
            ]
        },
        description=(
            "The `next_cursor` of the page before, or the `cursor` of a change. `now` answers the "
            "cursor behind which everything comes that is written from now on. Without it, the "
            "oldest change that is kept."
        ),
    ),
    OpenApiParameter(
        "user_id",
        USER,
        description=(
            "Only changes of this owner; by default, or with `*`, those of all whom the caller "
            "may see."
        ),
    ),
    OpenApiParameter(
        "wait",
        {"type": "integer", "minimum": 0, "maximum": 30, "default": 0},
        description="Seconds to wait for a change where there is none yet.",
    ),
    OpenApiParameter(
        "page_size", {"type": "integer", "minimum": 1, "maximum": 1_000, "default": 200}
    ),
]
