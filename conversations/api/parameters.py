"""Path, query and header parameters that several operations of the OpenAPI page share."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from conversations.api.pages import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE

_USER = {"oneOf": [{"type": "integer"}, {"type": "string", "minLength": 1, "maxLength": 150}]}

USER_ID = OpenApiParameter(
    "user_id",
    _USER,
    description=(
        "The owner: digits are a user's number, any other text a username. Without it, the "
        "caller. Naming somebody else takes a trusted client (or, to read, staff)."
    ),
)
USER_PATH = OpenApiParameter(
    "user", _USER, OpenApiParameter.PATH, description="The owner: a number or a username."
)
CURSOR = OpenApiParameter(
    "cursor", OpenApiTypes.STR, description="A place in the list; found in `next` and `previous`."
)
PAGE_SIZE = OpenApiParameter(
    "page_size",
    {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_PAGE_SIZE},
)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255},
    OpenApiParameter.HEADER,
    description=(
        "Makes the request repeatable: the same key and body again answer 200 with what is "
        "stored, another body 409."
    ),
)
AFTER_SEQUENCE = OpenApiParameter(
    "after_sequence",
    {"type": "integer", "minimum": 0, "maximum": 2147483647},
    description="Only messages with a higher sequence.",
)
BEFORE_SEQUENCE = OpenApiParameter(
    "before_sequence",
    {"type": "integer", "minimum": 0, "maximum": 2147483647},
    description="Only messages with a lower sequence.",
)
ORDER = OpenApiParameter(
    "order",
    {"type": "string", "enum": ["asc", "desc"], "default": "asc"},
    description="By sequence: `asc` from the first message on, `desc` from the last one back.",
)
