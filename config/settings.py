"""Settings. Each comes from one environment variable, read here; a test compares them with the docs."""

import os
import tomllib
from datetime import timedelta
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.accounts.settings import *  # noqa: F403  Django reads all settings as names of this module
from config.asgi.log_lines import logging_settings
from config.environment import (
    PRIVATE_NETWORKS,
    confidential,
    database,
    flag,
    former_secrets,
    is_clickhouse,
    kernel_sources,
    networks,
    redis_database,
    redis_url,
    required,
    secret,
    whole_number,
    zone_name,
)
from config.limits.settings import *  # noqa: F403  as above
from config.openapi.settings import DOCUMENT

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = tomllib.loads((BASE_DIR / "pyproject.toml").read_text())["project"]["version"]

# Access without credentials. Only `manage.py demo` sets it.
DEMO = flag("PLUMBLINE_DEMO", "0")
DEBUG = False
# Besides this computer, whom an open demo answers.
DEMO_NETWORKS = networks("DEMO_NETWORKS", PRIVATE_NETWORKS)

# Folders of files, each named as the setting that it holds; the first one counts, a colon is between two.
SECRETS = os.environ.get("SECRETS", "")
SECRET_KEY = secret("SECRET_KEY")
# Tokens and device keys are stored as hashes keyed with this: a copy of the database alone opens nothing.
TOKEN_PEPPER = secret("TOKEN_PEPPER")
# Those before the present ones, which still count while they are replaced.
SECRET_KEY_FALLBACKS = former_secrets("SECRET_KEY_FALLBACKS")
TOKEN_PEPPER_FALLBACKS = former_secrets("TOKEN_PEPPER_FALLBACKS")
ALLOWED_HOSTS = [h for h in required("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]").split(",") if h]
if not ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS must name at least one host.")

HOST = os.environ.get("HOST", "127.0.0.1")
PORT = whole_number("PORT", 8080, at_least=1, at_most=65535)
WEB_PROCESSES = whole_number("WEB_PROCESSES", 2, at_least=1, at_most=1000)
WORKER_PROCESSES = whole_number("WORKER_PROCESSES", 2, at_least=1, at_most=1000)
CALCULATION_PROCESSES = whole_number("CALCULATION_PROCESSES", 1, at_least=1, at_most=1000)
# A run that takes longer is stopped and marked as failed.
ANALYSIS_SECONDS = whole_number("ANALYSIS_SECONDS", 600, at_least=1, at_most=7 * 86400)
CALCULATION_SECONDS = whole_number("CALCULATION_SECONDS", 3600, at_least=1, at_most=7 * 86400)
# Kernels of calculations from files and modules: code that web and worker load at their start.
KERNELS = kernel_sources("KERNELS")
DATA = Path(os.environ.get("DATA", BASE_DIR / ".demo"))
LOG_LEVEL = os.environ.get("LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in ("DEBUG", "INFO", "WARNING", "ERROR"):
    raise ImproperlyConfigured(f"LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, not {LOG_LEVEL!r}.")

# A device is online while its last reading is younger than DEVICE_ONLINE_SECONDS.
DEVICE_ONLINE_SECONDS = whole_number("DEVICE_ONLINE_SECONDS", 300, at_least=1, at_most=365 * 86400)
# Readings older than RETENTION_DAYS are refused; 0 accepts every age.
RETENTION_DAYS = whole_number("RETENTION_DAYS", 0, at_least=0, at_most=100 * 365)
# An analysis is deleted RESULT_DAYS after it ended; 0 keeps it.
RESULT_DAYS = whole_number("RESULT_DAYS", 0, at_least=0, at_most=100 * 365)
# The largest file that can be uploaded to be imported.
IMPORT_MEBIBYTES = whole_number("IMPORT_MEBIBYTES", 200, at_least=1, at_most=4096)
# Connections of a process of `web`, or as many as it may open files: at the bound idle ones are closed.
CONNECTIONS = whole_number("CONNECTIONS", 8192, at_least=64, at_most=10**6)
# A connection is closed whose client takes nothing of an answer for so long.
WRITE_SECONDS = whole_number("WRITE_SECONDS", 20, at_least=1, at_most=3600)
# A body must be there within BODY_SECONDS of its first bytes; an upload may take ten times as long.
BODY_SECONDS = whole_number("BODY_SECONDS", 120, at_least=1, at_most=3600)
# The bodies that all processes of `web` hold together; each has an equal share, for two of the largest.
LEAST_BODIES = 10 * WEB_PROCESSES
BODIES_MEBIBYTES = whole_number(
    "BODIES_MEBIBYTES", max(128, LEAST_BODIES), at_least=LEAST_BODIES, at_most=10**6
)
# The rows of an import are deleted IMPORT_DAYS after it ended; until then it can be undone.
IMPORT_DAYS = whole_number("IMPORT_DAYS", 30, at_least=1, at_most=100 * 365)
# Requests with readings per minute and sender: a device, or all tokens of a user together. 0 is no limit.
INGEST_RATE_PER_MINUTE = whole_number("INGEST_RATE_PER_MINUTE", 1_200_000, at_least=0, at_most=10**9)

# Of a holder of more Idempotency-Keys the oldest are forgotten before their week is over.
IDEMPOTENCY_KEYS = whole_number("IDEMPOTENCY_KEYS", 1_000_000, at_least=1, at_most=10**9)

# --- Django

INSTALLED_APPS = [
    "config.apps.PlumblineAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "axes",
    "django_celery_results",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "users",
    "users.trail",
    "devices",
    "devices.imports",
    "analytics",
    "analytics.activity",
    "config.apps.ConfigConfig",
]
MIDDLEWARE = [
    "config.middleware.headers.standing_headers",
    "config.middleware.compression.Compress",
    "config.middleware.demo.near_clients",
    "config.middleware.trail.who_acts",
    "config.middleware.hosts.health",
    "config.middleware.hosts.known_host_and_slash",
    "config.middleware.credential_changes.note_changes",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "config.middleware.idle_sessions.end_idle_sessions",
    "config.middleware.demo.demo_user",
    "config.middleware.login.PageLoginRequired",
    "config.middleware.second_factor.SecondFactorOfStaff",
    "config.middleware.preferences.time_zone",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "config.middleware.query_parameters.RefuseUnknownQuery",
    "config.middleware.limits.Limits",
    "config.middleware.database_away.DatabaseAway",
    "config.middleware.password_hashes.BoundPasswordHashes",
]
ROOT_URLCONF = "config.urls"
# A redirect would lose the reading of a client that posts without the slash.
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
                "config.middleware.demo.demo_banner",
                "users.account.context.account",
            ],
        },
    },
]

DATABASE_URL = required("DATABASE_URL", "postgresql://localhost/plumbline")
DATABASES = {"default": database("DATABASE_URL", DATABASE_URL)}
DATABASE_ROUTERS = ["config.routers.ActivityRouter"]

# The logs of people's activity. Without a URL they live in a second database on the same server.
ACTIVITY_URL = confidential("ACTIVITY_URL")
if not ACTIVITY_URL:
    DATABASES["activity"] = DATABASES["default"] | {"NAME": f"{DATABASES['default']['NAME']}_activity"}
elif ACTIVITY_URL.startswith(("postgresql://", "postgres://", "pgsql://")):
    DATABASES["activity"] = database("ACTIVITY_URL", ACTIVITY_URL)
elif not is_clickhouse(ACTIVITY_URL):
    raise ImproperlyConfigured(
        "ACTIVITY_URL must be of the form postgresql://user:password@host:port/name"
        " or clickhouse://user:password@host:port/database."
    )

# The readings. Without a URL they live in the portal's database.
READINGS_URL = confidential("READINGS_URL")
if READINGS_URL not in ("", "postgresql") and not is_clickhouse(READINGS_URL):
    raise ImproperlyConfigured(
        "READINGS_URL must be of the form clickhouse://user:password@host:port/database, or postgresql."
    )

REDIS_URL = redis_url("REDIS_URL")
# Database 0 is the broker's and 1 the cache's, whatever number REDIS_URL carries.
CACHE_URL = redis_database(REDIS_URL, 1)
CACHES = {
    # django-allauth counts attempts here. What the portal caches is in "redis".
    "default": {"BACKEND": "users.account.attempt_cache.AttemptCache"},
    "redis": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": CACHE_URL,
        "OPTIONS": {
            "serializer": "users.redis_cache.JSONSerializer",
            # A request must not wait for a Redis that hangs.
            "socket_connect_timeout": 1,
            "socket_timeout": 1,
            "retry": Retry(NoBackoff(), 0),
        },
    },
}

AUTH_USER_MODEL = "users.User"
AUTHENTICATION_BACKENDS = ["users.backends.ThrottledBackend"]
LOGIN_URL = "activity:login"
LOGIN_REDIRECT_URL = "devices:device-list"
LOGOUT_REDIRECT_URL = "activity:login"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = zone_name("TIME_ZONE", "UTC")

STATIC_URL = "/static/"
# Static files are served from the packages' own folders: nothing has to be collected first.
STORAGES = {"staticfiles": {"BACKEND": "config.static_files.DigestNames"}}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# The size of a batch of readings; nothing else needs more.
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024

HTTPS = flag("HTTPS", "0" if DEMO else "1")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# Of a cookie with this prefix a browser takes no other than this host's own, sent over TLS.
SESSION_COOKIE_NAME = "__Host-sessionid" if HTTPS else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if HTTPS else "csrftoken"
# In the database: a cookie would carry what a page says of somebody.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
# Passkeys need TLS, except on localhost.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not HTTPS
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if HTTPS else "http"
CSRF_FAILURE_VIEW = "config.views.csrf_failure"

LOGGING = logging_settings(LOG_LEVEL)

# --- API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "users.authentication.TokenAuthentication",
        "devices.authentication.DeviceKeyAuthentication",
        "users.authentication.PageSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["users.permissions.ScopeAllows"],
    "DEFAULT_PARSER_CLASSES": ["config.rest_defaults.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "config.rest_defaults.JSONInAnyCase",
    "DEFAULT_THROTTLE_CLASSES": ["config.limits.reads.ReadsOfPerson"],
    "DEFAULT_FILTER_BACKENDS": ["config.rest_defaults.StrictFilters"],
    "DEFAULT_PAGINATION_CLASS": "config.rest_defaults.KeysetPagination",
    "DEFAULT_SCHEMA_CLASS": "config.openapi.operations.PlumblineSchema",
    "EXCEPTION_HANDLER": "config.problems.problem_response",
    # The same key as for a body that is not JSON at all.
    "NON_FIELD_ERRORS_KEY": "body",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

SPECTACULAR_SETTINGS = {"VERSION": VERSION, **DOCUMENT}

# --- Celery

CELERY_BROKER_URL = (
    f"redis+socket://{REDIS_URL.removeprefix('unix://')}?virtual_host=0"
    if REDIS_URL.startswith("unix://")
    else redis_database(REDIS_URL, 0)
)
CELERY_RESULT_BACKEND = "django-db"
# A result lives as long as its analysis, see RESULT_DAYS. Celery's default would delete it after a day.
CELERY_RESULT_EXPIRES = None
CELERY_RESULT_EXTENDED = True
# Nothing that is read from Redis or the results is unpickled: whoever writes there must not run code.
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = CELERY_RESULT_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "maintenance"
CELERY_TASK_ROUTES = {
    "analytics.tasks.run_analysis": {"queue": "analyses"},
    "analytics.tasks.run_calculation": {"queue": "calculations"},
    # Jobs on readings may take minutes or wait for a lock.
    "devices.tasks.*": {"queue": "storage"},
    "devices.imports.tasks.work_on_uploads": {"queue": "storage"},
}
# A worker reserves no message that it cannot start at once: another worker may be free.
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# A worker keeps its database connection, like the web server's threads, and checks it before each task. After
# this many tasks it gets a new one, so that nothing a session holds, such as a lock, is held for ever.
CELERY_DB_REUSE_MAX = 1000
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A dead broker must not delay a request: the run's row waits, and the reconciler queues it later.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_CONNECTION_TIMEOUT = 1
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
    # Must exceed CELERY_TASK_TIME_LIMIT, or Redis would deliver a running task again.
    "visibility_timeout": 2 * 3600,
}
CELERY_TASK_SOFT_TIME_LIMIT = 3600
CELERY_TASK_TIME_LIMIT = 3660
CELERY_TASK_ALWAYS_EAGER = False
# Keeps no file that a killed beat could leave locked. Every job is idempotent, so a restart may repeat it.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"
CELERY_BEAT_SCHEDULE = {
    "make-partitions": {"task": "devices.tasks.make_partitions", "schedule": timedelta(hours=6)},
    "erase-readings": {"task": "devices.tasks.erase_readings", "schedule": timedelta(minutes=1)},
    "deliver-events": {
        "task": "analytics.activity.tasks.deliver_events",
        "schedule": timedelta(seconds=5),
        "options": {"expires": 5},
    },
    "forget-keys": {"task": "devices.tasks.forget_keys", "schedule": timedelta(minutes=10)},
    "build-rollups": {
        "task": "devices.tasks.build_rollups",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "tidy-rollups": {"task": "devices.tasks.tidy_rollups", "schedule": timedelta(hours=1)},
    "forget-trail": {"task": "users.trail.tasks.forget_trail", "schedule": timedelta(hours=1)},
    "forget-uploads": {"task": "devices.imports.tasks.forget_uploads", "schedule": timedelta(hours=1)},
    "reconcile-uploads": {
        "task": "devices.imports.tasks.reconcile_uploads",
        "schedule": timedelta(seconds=5),
        "options": {"expires": 5},
    },
    "forget-sessions": {"task": "users.tasks.forget_sessions", "schedule": timedelta(hours=1)},
    "expire-results": {"task": "analytics.tasks.expire_results", "schedule": timedelta(hours=1)},
    "reconcile-runs": {
        "task": "analytics.tasks.reconcile_runs",
        "schedule": timedelta(seconds=5),
        # After an outage one round is enough.
        "options": {"expires": 5},
    },
}
