"""Every setting is read from the environment here, once. README lists them, and a test compares."""

import os
import re
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def flag(name: str, default: str) -> bool:
    value = os.environ.get(name, default)
    if value not in ("0", "1"):
        raise ImproperlyConfigured(f"{name} must be 0 or 1, not {value!r}.")
    return value == "1"


def whole_number(name: str, default: int, *, at_least: int, at_most: int) -> int:
    value = os.environ.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", value) or not at_least <= int(value) <= at_most:
        raise ImproperlyConfigured(
            f"{name} must be a whole number from {at_least} to {at_most}, not {value!r}."
        )
    return int(value)


def required(name: str, demo_default: str) -> str:
    """Refuse to start without `name`; only demo mode has a default."""
    value = os.environ.get(name) or (demo_default if DEMO else "")
    if not value:
        raise ImproperlyConfigured(f"Set {name} in the environment: it is required outside demo mode.")
    return value


def secret(name: str) -> str:
    """A required value of 32 characters or more; demo mode without one gets a new one at each start."""
    value = required(name, secrets.token_urlsafe(32))
    if len(value) < 32:
        raise ImproperlyConfigured(f"{name} must have at least 32 characters.")
    return value


def zone_name(name: str, default: str) -> str:
    value = os.environ.get(name, default)
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ImproperlyConfigured(f"{name} must be an IANA time zone, not {value!r}.") from error
    return value


# Access without credentials; set by `manage.py demo` and by nothing else.
DEMO = flag("PLUMBLINE_DEMO", "0")
DEBUG = False

SECRET_KEY = secret("SECRET_KEY")
# Keyed hash of tokens and device keys: a copy of the database alone lets nobody in.
TOKEN_PEPPER = secret("TOKEN_PEPPER")
ALLOWED_HOSTS = [h for h in required("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]").split(",") if h]
if not ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS must name at least one host.")

HOST = os.environ.get("HOST", "127.0.0.1")
PORT = whole_number("PORT", 8080, at_least=1, at_most=65535)
WEB_PROCESSES = whole_number("WEB_PROCESSES", 2, at_least=1, at_most=1000)
WORKER_PROCESSES = whole_number("WORKER_PROCESSES", 2, at_least=1, at_most=1000)
CALCULATION_PROCESSES = whole_number("CALCULATION_PROCESSES", 1, at_least=1, at_most=1000)
# What takes longer is stopped and has failed.
ANALYSIS_SECONDS = whole_number("ANALYSIS_SECONDS", 600, at_least=1, at_most=7 * 86400)
CALCULATION_SECONDS = whole_number("CALCULATION_SECONDS", 3600, at_least=1, at_most=7 * 86400)
DATA = Path(os.environ.get("DATA", BASE_DIR / ".demo"))
LOG_LEVEL = os.environ.get("LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in ("DEBUG", "INFO", "WARNING", "ERROR"):
    raise ImproperlyConfigured(f"LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, not {LOG_LEVEL!r}.")

# A device is online while its last reading is younger than this.
DEVICE_ONLINE_SECONDS = whole_number("DEVICE_ONLINE_SECONDS", 300, at_least=1, at_most=365 * 86400)
# Readings older than this are refused; 0 takes any age.
RETENTION_DAYS = whole_number("RETENTION_DAYS", 0, at_least=0, at_most=100 * 365)
# Requests with readings that a device, or all tokens of a user together, may post; 0 is no limit.
INGEST_RATE_PER_MINUTE = whole_number("INGEST_RATE_PER_MINUTE", 1_200_000, at_least=0, at_most=10**9)

# --- Django

INSTALLED_APPS = [
    "config.apps.PlumblineAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_results",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "users",
    "devices",
    "analytics",
    "analytics.activity",
    "config.apps.ConfigConfig",
]
MIDDLEWARE = [
    "config.middleware.standing_headers",
    "config.middleware.health",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.middleware.known_host_and_slash",
    "config.middleware.note_changes",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "config.middleware.demo_user",
    "config.middleware.PageLoginRequired",
    "django.contrib.messages.middleware.MessageMiddleware",
    "config.middleware.RefuseUnknownQuery",
    "config.middleware.DatabaseAway",
]
ROOT_URLCONF = "config.urls"
# An API client that posts without the slash must not be redirected: the reading would be lost.
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.middleware.demo_banner",
            ],
        },
    },
]


def database(name: str, url: str) -> dict[str, Any]:
    """Django's settings from the URL in `name`, which may hold a password and is never shown."""
    try:
        # A thread keeps its connection and checks it before use: a restarted database costs no request.
        parsed = dj_database_url.parse(url, conn_max_age=None, conn_health_checks=True)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is no URL of a database.") from error
    if parsed["ENGINE"] != "django.db.backends.postgresql" or not parsed["NAME"]:
        raise ImproperlyConfigured(f"{name} must be of the form postgresql://user:password@host:port/name.")
    parsed.setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
    return parsed


def is_clickhouse(url: str) -> bool:
    """Whether it names a host and a database; ClickHouse is asked by HTTP."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname and parts.path.strip("/") and parts.port != 0)
    except ValueError:
        return False


DATABASE_URL = required("DATABASE_URL", "postgresql://localhost/plumbline")
DATABASES = {"default": database("DATABASE_URL", DATABASE_URL)}
DATABASE_ROUTERS = ["config.routers.ActivityRouter"]

# The logs of what people do. Without a URL they are beside the portal's database, on the same server.
ACTIVITY_URL = os.environ.get("ACTIVITY_URL", "")
if not ACTIVITY_URL:
    DATABASES["activity"] = DATABASES["default"] | {"NAME": f"{DATABASES['default']['NAME']}_activity"}
elif ACTIVITY_URL.startswith(("postgresql://", "postgres://", "pgsql://")):
    DATABASES["activity"] = database("ACTIVITY_URL", ACTIVITY_URL)
elif not (ACTIVITY_URL.startswith("clickhouse://") and is_clickhouse(ACTIVITY_URL)):
    raise ImproperlyConfigured(
        "ACTIVITY_URL must be of the form postgresql://user:password@host:port/name"
        " or clickhouse://user:password@host:port/database."
    )

# The readings. Without a URL they are in the portal's database.
READINGS_URL = os.environ.get("READINGS_URL", "")
if READINGS_URL not in ("", "postgresql") and not (
    READINGS_URL.startswith("clickhouse://") and is_clickhouse(READINGS_URL)
):
    raise ImproperlyConfigured(
        "READINGS_URL must be of the form clickhouse://user:password@host:port/database, or postgresql."
    )

REDIS_URL = required("REDIS_URL", "redis://localhost")
if not REDIS_URL.startswith(("redis://", "rediss://", "unix://")):
    raise ImproperlyConfigured("REDIS_URL must start with redis://, rediss:// or unix://.")


def redis_database(number: int) -> str:
    """The broker has database 0, the cache database 1, whatever number REDIS_URL carries."""
    if REDIS_URL.startswith("unix://"):
        # Put together again by urllib it would be unix:/path, which redis-py refuses.
        return f"{REDIS_URL.partition('?')[0]}?db={number}"
    return urlsplit(REDIS_URL)._replace(path=f"/{number}").geturl()


CACHE_URL = redis_database(1)
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": CACHE_URL}}

AUTH_USER_MODEL = "users.User"
AUTHENTICATION_BACKENDS = ["users.backends.ThrottledBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "activity:login"
LOGIN_REDIRECT_URL = "devices:device-list"
LOGOUT_REDIRECT_URL = "activity:login"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = zone_name("TIME_ZONE", "UTC")

STATIC_URL = "/static/"
# Files are served from where the packages keep them: no collecting step in the demo, the tests or the image.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# What a batch of readings may have; nothing else needs more.
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024

HTTPS = flag("HTTPS", "0" if DEMO else "1")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
CSRF_FAILURE_VIEW = "config.views.csrf_failure"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {"django": {"handlers": [], "propagate": True}},
}

# --- API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "users.authentication.TokenAuthentication",
        "devices.authentication.DeviceKeyAuthentication",
        "users.authentication.PageSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["users.permissions.ScopeAllows"],
    "DEFAULT_PARSER_CLASSES": ["config.api.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "config.api.JSONInAnyCase",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "config.api.KeysetPagination",
    "DEFAULT_SCHEMA_CLASS": "config.openapi.PlumblineSchema",
    "EXCEPTION_HANDLER": "config.problems.problem_response",
    # Faults of the whole body are named as those of one that is not even JSON.
    "NON_FIELD_ERRORS_KEY": "body",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Plumbline",
    "DESCRIPTION": "Readings of a fleet of devices, kept to the last one, and exact statistics over them.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "config.openapi.complete",
    ],
}

# --- Celery

CELERY_BROKER_URL = (
    f"redis+socket://{REDIS_URL.removeprefix('unix://')}?virtual_host=0"
    if REDIS_URL.startswith("unix://")
    else redis_database(0)
)
CELERY_RESULT_BACKEND = "django-db"
# A result lives as long as the analysis that points to it; Celery's own expiry would delete it after a day.
CELERY_RESULT_EXPIRES = None
CELERY_RESULT_EXTENDED = True
CELERY_TASK_DEFAULT_QUEUE = "maintenance"
CELERY_TASK_ROUTES = {
    "analytics.tasks.run_analysis": {"queue": "analyses"},
    "analytics.tasks.run_calculation": {"queue": "calculations"},
}
# A worker takes no message that it cannot work on at once: another may be free for it.
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# As the web server's threads a worker keeps its database connection, and checks it before each task. It gets
# a new one now and then, lest anything that a session holds, such as a lock, be held for ever.
CELERY_DB_REUSE_MAX = 1000
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A dead broker must not hold a request up: the row waits, and the reconciler sends it later.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_CONNECTION_TIMEOUT = 1
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
    # Must exceed the hard time limit below, or a task would run twice.
    "visibility_timeout": 2 * 3600,
}
CELERY_TASK_SOFT_TIME_LIMIT = 3600
CELERY_TASK_TIME_LIMIT = 3660
CELERY_TASK_ALWAYS_EAGER = False
# No file for a killed beat to leave locked: every job is idempotent, so a restart may repeat it.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"
CELERY_BEAT_SCHEDULE = {
    "make-partitions": {"task": "devices.tasks.make_partitions", "schedule": timedelta(hours=6)},
    "erase-readings": {"task": "devices.tasks.erase_readings", "schedule": timedelta(minutes=1)},
    "deliver-events": {
        "task": "analytics.activity.tasks.deliver_events",
        "schedule": timedelta(seconds=5),
        "options": {"expires": 5},
    },
    "forget-keys": {"task": "devices.tasks.forget_keys", "schedule": timedelta(hours=1)},
    "build-rollups": {
        "task": "devices.tasks.build_rollups",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "tidy-rollups": {"task": "devices.tasks.tidy_rollups", "schedule": timedelta(hours=1)},
    "reconcile-runs": {
        "task": "analytics.tasks.reconcile_runs",
        "schedule": timedelta(seconds=5),
        # Missed rounds are worthless: after an outage one is enough.
        "options": {"expires": 5},
    },
}
