"""Settings; values that differ between installations are read from the environment.

docs/settings.md lists the variables.
"""

import os
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import environ
from corsheaders.defaults import default_headers
from django.templatetags.static import static

from chatproject import chat_settings as chat
from chatproject import database_limits, database_replicas, embedded_postgres, logs, openapi
from chatproject.secret_key import load_or_create
from conversations import tracing

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
_GIVEN = set(os.environ)
env.read_env(BASE_DIR / ".env")
# Not for other processes, which read the file themselves, as it is by then.
NAMES_FROM_ENV_FILE = set(os.environ) - _GIVEN

# The folder of the embedded database and the generated secret key.
DATA_DIR = Path(env.str("CHATPROJECT_DATA", default="") or BASE_DIR / "var").resolve()

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or load_or_create(DATA_DIR / "secret-key")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
    "axes",
    "conversations.apps.ConversationsConfig",
]

MIDDLEWARE = [
    "conversations.api.middleware.request_id",
    "conversations.api.middleware.client_address",
    "conversations.api.middleware.access_log",
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "conversations.api.session_middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "conversations.api.session_middleware.CsrfViewMiddleware",
    "conversations.api.session_middleware.AuthenticationMiddleware",
    "conversations.api.session_middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "conversations.admin.middleware.viewer_time_zone",
    "conversations.admin.middleware.content_security_policy",
    "conversations.admin.middleware.ConflictPage",
    "axes.middleware.AxesMiddleware",
]

if tracing.is_configured():  # OTEL_EXPORTER_OTLP_ENDPOINT
    MIDDLEWARE.insert(1, "conversations.api.tracing.trace_requests")  # within the request's id

ROOT_URLCONF = "chatproject.urls"
WSGI_APPLICATION = "chatproject.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before the templates of unfold, of which one is overridden.
        "DIRS": [BASE_DIR / "conversations" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

if env.str("DATABASE_URL", default=""):
    DATABASES = {"default": env.db_url("DATABASE_URL")}
else:
    DATABASES = {
        "default": embedded_postgres.database_settings(
            DATA_DIR / "postgres", durable=env.bool("CHATPROJECT_DURABLE", default=True)
        )
    }
DATABASES["default"] |= {
    # Persistent connections, checked before use, so that a restart of the database does not fail
    # a request.
    "CONN_MAX_AGE": env.int("DATABASE_CONN_MAX_AGE", default=600),
    "CONN_HEALTH_CHECKS": True,
}
# Timeouts; 0 is no limit. Web processes use DATABASE_WEB_OPTIONS (`wsgi.py`). Commands have only a
# lock timeout, so that they do not block others while they wait for a lock.
_OPTIONS = database_limits.NETWORK_TIMEOUTS | DATABASES["default"].get("OPTIONS", {})
_STATEMENT_TIMEOUT = env.float("DATABASE_STATEMENT_TIMEOUT_SECONDS", default=30)
_IDLE_TIMEOUT = env.float("DATABASE_IDLE_IN_TRANSACTION_SECONDS", default=60)
DATABASE_WEB_OPTIONS = database_limits.with_limits(
    _OPTIONS,
    lock_timeout=env.float("DATABASE_LOCK_TIMEOUT_SECONDS", default=5),
    statement_timeout=_STATEMENT_TIMEOUT,
    idle_in_transaction_session_timeout=_IDLE_TIMEOUT,
)
if "sqlite" not in DATABASES["default"]["ENGINE"]:  # used only for static checks
    DATABASES["default"]["OPTIONS"] = database_limits.with_limits(
        _OPTIONS, lock_timeout=env.float("DATABASE_COMMAND_LOCK_TIMEOUT_SECONDS", default=60)
    )
# Read replicas of that database (docs/scale.md).
_REPLICAS = database_replicas.replicas(
    env.list("DATABASE_REPLICA_URLS", default=[]),
    DATABASES["default"],
    statement_timeout=_STATEMENT_TIMEOUT,
)
# Reads of what was not written over this application's web processes may be so old.
DATABASE_REPLICA_MAX_LAG_SECONDS = env.float("DATABASE_REPLICA_MAX_LAG_SECONDS", default=15)
DATABASES |= _REPLICAS
DATABASE_REPLICAS = list(_REPLICAS)
if DATABASE_REPLICAS:
    DATABASE_ROUTERS = ["conversations.db.replicas.Router"]
    MIDDLEWARE += [
        "conversations.api.middleware.replica_scope",
        "conversations.admin.middleware.pages_from_replica",
    ]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # rejects locked accounts before the password is checked
    "django.contrib.auth.backends.ModelBackend",
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
CSRF_FAILURE_VIEW = "conversations.api.errors.csrf_failure"

LANGUAGE_CODE = "en-us"
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
# Where `quickstart` collects the static files. The application serves them from there, and what is
# not there straight from the packages.
STATIC_ROOT = Path(env.str("STATIC_ROOT", default="") or DATA_DIR / "static").resolve()
with suppress(OSError):  # without it WhiteNoise warns; a read-only disk has none
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)
_FILES = "django.core.files.storage.FileSystemStorage"
_STATIC_FILES = "chatproject.static_files.StaticFiles"
STORAGES = {"default": {"BACKEND": _FILES}, "staticfiles": {"BACKEND": _STATIC_FILES}}
WHITENOISE_USE_FINDERS = True

# Behind a TLS-terminating proxy, HTTPS=true makes cookies secure, redirects HTTP, and counts as
# production (production.py).
HTTPS = env.bool("HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=3_600 if HTTPS else 0)
# Of `check --deploy`: the CSRF middleware is a subclass of Django's (W003); other subdomains (W005)
# and the lists of browsers (W021) are for the owner of the domain to decide.
SILENCED_SYSTEM_CHECKS = ["security.W003", "security.W005", "security.W021"]
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
# Who has this token reads /metrics; without one, only the machine of the server itself does.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")

# The maximum size of a request body in bytes; a larger one is answered with 413.
CHAT_MAX_BODY_BYTES = env.int("CHAT_MAX_BODY_BYTES", default=10 * 1024 * 1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = CHAT_MAX_BODY_BYTES
# The web server (`conversations/server/`). Each process has so many threads, with a database
# connection each, and so many open requests and streams; one more is answered with 503.
WEB_THREADS = chat.integer(env, "WEB_THREADS", 5, minimum=1, maximum=100)
WEB_REQUESTS = chat.integer(env, "WEB_REQUESTS", 4_000, minimum=1, maximum=60_000)
WEB_STREAMS = chat.integer(env, "WEB_STREAMS", 2_000, minimum=1, maximum=60_000)
# Seconds in which the head and the body of a request must arrive. A connection without a request
# is closed as soon.
WEB_HEADER_SECONDS = chat.integer(env, "WEB_HEADER_SECONDS", 30, minimum=1, maximum=3_600)
WEB_BODY_SECONDS = chat.integer(env, "WEB_BODY_SECONDS", 60, minimum=1, maximum=3_600)

# The maximum length in characters of a question to a model, and of a user message that a person's
# own token appends.
CHAT_MAX_MESSAGE_CHARS = env.int("CHAT_MAX_MESSAGE_CHARS", default=10_000)
# What a request of a person's own token may say of its turn; trusted clients may say all of it.
CHAT_PERSONAL_OPTIONS = env.list(
    "CHAT_PERSONAL_OPTIONS",
    default=["system", "temperature", "max_tokens", "tools", "metadata", "parts", "store"],
)
# The maximum size of an image that is sent with a question, in bytes.
CHAT_MAX_IMAGE_BYTES = env.int("CHAT_MAX_IMAGE_BYTES", default=5 * 1024 * 1024)
CHAT_COST_CURRENCY = env.str("CHAT_COST_CURRENCY", default="USD")
# The maximum size of `metadata` in bytes of JSON, and the maximum nesting depth of JSON values.
CHAT_MAX_METADATA_BYTES = env.int("CHAT_MAX_METADATA_BYTES", default=64 * 1024)
CHAT_MAX_JSON_DEPTH = env.int("CHAT_MAX_JSON_DEPTH", default=32)

# Where files that staff send to be imported wait for it, and their maximum size in bytes.
CHAT_IMPORTS_DIR = DATA_DIR / "imports"
CHAT_MAX_IMPORT_BYTES = env.int("CHAT_MAX_IMPORT_BYTES", default=2 * 1024**3)

# The secret with which Open WebUI signs the names of its users, and whether their id or their email
# address is their name here.
OPENWEBUI_JWT_SECRET = env.str("OPENWEBUI_JWT_SECRET", default="")
OPENWEBUI_USER_BY = chat.one_of(env, "OPENWEBUI_USER_BY", ("id", "email"))

# Days that the feed of changes reaches back.
CHAT_CHANGES_RETENTION_DAYS = chat.integer(
    env, "CHAT_CHANGES_RETENTION_DAYS", 30, minimum=1, maximum=3_650
)

# After how many days without activity apply_retention deletes a conversation, of whomever; 0: only
# by the rules in the admin.
CHAT_RETENTION_DAYS = chat.integer(env, "CHAT_RETENTION_DAYS", 0, maximum=36_500)

# Whether staff must give a reason before they access another user's conversation.
CHAT_REQUIRE_READ_REASON = env.bool("CHAT_REQUIRE_READ_REASON", default=False)

# Rate limits per user, such as {"read": "600/min", "write": "60/min", "search": "30/min"}.
# Counted in the cache of CACHE_URL; the default cache counts for each process separately.
THROTTLE_RATES = {
    kind: rate
    for kind in ("read", "write", "search", "chat", "export")
    if (rate := env.str(f"THROTTLE_{kind.upper()}", default=""))
}
CACHES = {"default": env.cache_url("CACHE_URL", default="locmemcache://")}

# Limits failed password logins by account and by IP address.
AXES_FAILURE_LIMIT = env.int("LOGIN_FAILURE_LIMIT", default=10)
AXES_COOLOFF_TIME = timedelta(minutes=env.int("LOGIN_COOLOFF_MINUTES", default=15))
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
# Shared by all processes: in the cache of CACHE_URL or, without one, in the database.
AXES_HANDLER = (
    "axes.handlers.cache.AxesCacheHandler"
    if env.str("CACHE_URL", default="")
    else "axes.handlers.database.AxesDatabaseHandler"
)
AXES_RESET_ON_SUCCESS = False  # only for the account: `forget_failures` in api/logins.py
# Further failures must not extend a lock, or anyone could keep an account locked.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_USERNAME_CALLABLE = "conversations.api.logins.counted_name"
AXES_LOCKOUT_CALLABLE = "conversations.api.logins.locked_out"
AXES_ENABLE_ADMIN = False
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False
# The number of trusted proxies that append to X-Forwarded-For.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)

# Origins whose pages may call the API with a token; none by default.
CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", default=[])
CORS_URLS_REGEX = r"^/(api|v1)/"
CORS_ALLOW_HEADERS = [
    *default_headers,
    "access-reason",
    "idempotency-key",
    "last-event-id",
    "x-request-id",
    "x-user-id",
    "x-conversation-id",
    "x-task",
    # What OpenAI's SDK sends from a page.
    *("openai-organization", "openai-project", "openai-beta"),
    *(
        f"x-stainless-{name}"
        for name in (
            *("lang", "package-version", "os", "arch", "runtime", "runtime-version", "timeout"),
            *("retry-count", "helper-method", "poll-helper", "custom-poll-interval"),
        )
    ),
]
CORS_EXPOSE_HEADERS = ["X-Request-ID", "X-Conversation-Id", "Retry-After"]

LOGGING = logs.configure(
    level=env.str("LOG_LEVEL", default="INFO"),
    as_json=env.str("LOG_FORMAT", default="text" if sys.stderr.isatty() else "json") == "json",
)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "conversations.api.authentication.BearerAuthentication",
        "conversations.api.authentication.LoginAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["conversations.api.throttles.UserThrottle"],
    "DEFAULT_PARSER_CLASSES": ["conversations.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["conversations.api.renderers.FastJSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "conversations.api.schema.Schema",
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
DRF_STANDARDIZED_ERRORS = {
    "EXCEPTION_HANDLER_CLASS": "conversations.api.errors.ErrorHandler",
    "EXCEPTION_FORMATTER_CLASS": "conversations.api.errors.ErrorFormatter",
    "ENABLE_IN_DEBUG_FOR_UNHANDLED_EXCEPTIONS": True,
}
# The default validity of an API token in days.
TOKEN_DAYS = env.int("TOKEN_DAYS", default=90)
SPECTACULAR_SETTINGS = openapi.SETTINGS

UNFOLD = {
    "SITE_TITLE": "Conversations",
    "SITE_HEADER": "Conversations",
    "SITE_SYMBOL": "forum",
    "SHOW_VIEW_ON_SITE": False,
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("conversations/icon.svg"),
        }
    ],
    "SIDEBAR": {"navigation": "conversations.admin.navigation.sidebar"},
    "DASHBOARD_CALLBACK": "conversations.admin.dashboard.view.dashboard",
}

# The chat: model providers, prompt, tools and retrieval (docs/chat.md).
CHAT_PROVIDER = env.str("CHAT_PROVIDER", default="embedded")
CHAT_PROVIDERS = chat.providers(env)
CHAT_SYSTEM_PROMPT = env.str("CHAT_SYSTEM_PROMPT", default="You are a helpful assistant.")
# The context window of the model, in messages and in (estimated) tokens.
CHAT_CONTEXT_MESSAGES = env.int("CHAT_CONTEXT_MESSAGES", default=40)
CHAT_CONTEXT_TOKENS = env.int("CHAT_CONTEXT_TOKENS", default=4_000)
CHAT_TOOLS = env.list("CHAT_TOOLS", default=[])
CHAT_MCP_SERVERS = chat.json_object(env, "CHAT_MCP_SERVERS")
CHAT_MAX_TOOL_ROUNDS = chat.integer(env, "CHAT_MAX_TOOL_ROUNDS", 8, maximum=30)
CHAT_MODES = chat.modes(env)
CHAT_RETRIEVER = env.str("CHAT_RETRIEVER", default="")
CHAT_QDRANT = chat.json_object(env, "CHAT_QDRANT")
# The timeout of a turn, and of the heartbeat after which a running turn counts as interrupted.
CHAT_TURN_SECONDS = env.int("CHAT_TURN_SECONDS", default=600)
CHAT_TURN_STALE_SECONDS = env.int("CHAT_TURN_STALE_SECONDS", default=30)
