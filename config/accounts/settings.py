"""Settings of accounts: log-in, the trail, OpenID Connect, mail. `config.settings` takes all names."""

import os
import re

from django.core.exceptions import ImproperlyConfigured

from config.environment import confidential, contacts, flag, mail_server, openid_issuer, whole_number

# --- Log-in

# Proxies that append to X-Forwarded-For in front of the portal. With 0 the header is not believed at all.
TRUSTED_PROXIES = whole_number("TRUSTED_PROXIES", 0, at_least=0, at_most=10)
# Staff and admins without a second factor see nothing but the pages where they set one up.
STAFF_NEED_SECOND_FACTOR = flag("STAFF_NEED_SECOND_FACTOR", "0")

SESSION_ENGINE = "users.account.live_sessions"
# A session ends once nothing came from its browser for so long; with 0, two weeks after the log-in.
SESSION_IDLE_MINUTES = whole_number("SESSION_IDLE_MINUTES", 1440, at_least=0, at_most=14 * 1440)
# Each takes half a second of CPU, and it and one that waits a thread each of the web server: all of them must
# be fewer than the threads for log-ins, and than those for pages, where passwords are changed.
PASSWORD_HASHES = whole_number("PASSWORD_HASHES", 2, at_least=1, at_most=2)
PASSWORD_HASHERS = ["users.account.hashing.BoundedHasher"]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}", "OPTIONS": options}
    for name, options in (
        ("MinimumLengthValidator", {"min_length": 10}),
        ("UserAttributeSimilarityValidator", {"user_attributes": ("login", "name", "email")}),
        ("CommonPasswordValidator", {}),
        ("NumericPasswordValidator", {}),
    )
]

ACCOUNT_ADAPTER = "analytics.activity.sessions.RecordingAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = "login"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
# An address is confirmed when it is changed, see `users.account.email_change`.
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[Plumbline] "
# People are told of a changed password and of a new second factor.
ACCOUNT_EMAIL_NOTIFICATIONS = True
PASSWORD_RESET_TIMEOUT = 24 * 3600
ACCOUNT_FORMS = {
    "change_password": "users.account.forms.ChangePasswordForm",
    "set_password": "users.account.forms.SetPasswordForm",
    "reset_password_from_key": "users.account.forms.ResetPasswordKeyForm",
}

MFA_ADAPTER = "users.account.adapters.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_ISSUER = "Plumbline"
# A telephone whose clock is half a minute off still makes valid codes.
MFA_TOTP_TOLERANCE = 1

USERSESSIONS_ADAPTER = "analytics.activity.sessions.RecordingSessionsAdapter"

AXES_HANDLER = "users.account.lockout.LockoutHandler"
AXES_CLIENT_IP_CALLABLE = "users.account.addresses.counted_address"
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
# `users.admin` has a page of its own, without the forms that axes could store.
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
# The log-in page itself answers 429; axes' middleware would put another page in its place.
SILENCED_SYSTEM_CHECKS = ["axes.W002"]

# --- The trail, and reports

# Where weaknesses are reported, for /.well-known/security.txt.
SECURITY_CONTACT = contacts("SECURITY_CONTACT")
# An entry of the trail is deleted TRAIL_DAYS after it was written, 30 at least; 0 keeps it.
TRAIL_DAYS = whole_number("TRAIL_DAYS", 365, at_least=0, at_most=100 * 365)
if 0 < TRAIL_DAYS < 30:
    raise ImproperlyConfigured("TRAIL_DAYS must be 0 or at least 30.")

# --- OpenID Connect

OIDC_ISSUER = openid_issuer("OIDC_ISSUER")
OIDC_CLIENT_ID = os.environ.get("OIDC_CLIENT_ID", "")
OIDC_CLIENT_SECRET = confidential("OIDC_CLIENT_SECRET")
OIDC_NAME = os.environ.get("OIDC_NAME", "") or "Single sign-on"
if OIDC_ISSUER and not (OIDC_CLIENT_ID and OIDC_CLIENT_SECRET):
    raise ImproperlyConfigured("OIDC_ISSUER needs OIDC_CLIENT_ID and OIDC_CLIENT_SECRET as well.")
# Identities are stored under this name: those of another issuer are other people.
OIDC_PROVIDER = re.sub(r"[^a-z0-9]+", "-", OIDC_ISSUER.partition("://")[2].lower()).strip("-")

SOCIALACCOUNT_ADAPTER = "users.account.adapters.OpenIDAdapter"
# The policy's form-action would stop a form that ends at another host. State and PKCE protect the link.
SOCIALACCOUNT_LOGIN_ON_GET = True
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": OIDC_PROVIDER,
                "name": OIDC_NAME,
                "client_id": OIDC_CLIENT_ID,
                "secret": OIDC_CLIENT_SECRET,
                "settings": {"server_url": OIDC_ISSUER},
            }
        ]
        if OIDC_ISSUER
        else [],
    }
}

# --- Mail

_server = mail_server("EMAIL_URL")
MAIL_IS_SET_UP = _server is not None
EMAIL_BACKEND = f"django.core.mail.backends.{_server.kind if _server else 'dummy'}.EmailBackend"
EMAIL_FILE_PATH = _server.folder if _server else None
EMAIL_HOST = _server.host if _server else ""
EMAIL_PORT = _server.port if _server else 0
EMAIL_HOST_USER = _server.user if _server else ""
EMAIL_HOST_PASSWORD = _server.password if _server else ""
EMAIL_USE_TLS = bool(_server and _server.start_tls)
EMAIL_USE_SSL = bool(_server and _server.tls)
# A request waits for the mail server no longer.
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = os.environ.get("EMAIL_FROM", "") or "Plumbline <plumbline@localhost>"
