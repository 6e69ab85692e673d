"""The credentials of the API as the OpenAPI document explains them."""

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension

OF_USERS = """`Token` followed by a user's API token, as in `Authorization: Token plt_1f9c04ab.…`.

**To get one**: `POST /users/{id}/tokens/` with a token that you have, the admin pages (*Tokens*), or for
the first one `manage.py create_token LOGIN` on the host. The text is in that answer only; the portal
stores a keyed hash.

**Scopes**: `read` allows GET, `write` allows changes, `ingest` allows posting readings. A token has all
three unless `scopes` names fewer, and can do no more than its user: admins everything, staff all data but
no users, owners their own devices and what derives from them. What is not yours is 404.

**Its end**: `expires_at` where given; `DELETE /users/{id}/tokens/{prefix}/` revokes it at once."""
OF_DEVICES = """`Device` followed by a device's key, as in `Authorization: Device pld_77c1e0ab.…`.

A key allows posting readings of its own device, and nothing else. `POST /devices/` answers the first one;
the answer to `POST /devices/{id}/keys/` has a new one, while older ones stay valid for `overlap_seconds`.
`DELETE /devices/{id}/keys/{prefix}/` revokes one at once. Each key is shown once."""
OF_PAGES = """The session of the portal's own pages, for their scripts. Changes also need the CSRF
token in `X-CSRFToken`. Programs use a token."""


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "users.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, _: object) -> dict:
        return header_scheme(OF_USERS)


class DeviceKeyScheme(OpenApiAuthenticationExtension):
    target_class = "devices.authentication.DeviceKeyAuthentication"
    name = "device"

    def get_security_definition(self, _: object) -> dict:
        return header_scheme(OF_DEVICES)


class PageSessionScheme(OpenApiAuthenticationExtension):
    target_class = "users.authentication.PageSessionAuthentication"
    name = "session"

    def get_security_definition(self, _: object) -> dict:
        name = settings.SESSION_COOKIE_NAME
        return {"type": "apiKey", "in": "cookie", "name": name, "description": OF_PAGES}


def header_scheme(description: str) -> dict:
    return {"type": "apiKey", "in": "header", "name": "Authorization", "description": description}
