from django.conf import settings
from django.http import HttpRequest


def account(_: HttpRequest) -> dict[str, object]:
    """Template context: whether mail works, and the name of the OpenID provider, if there is one."""
    return {
        "mail_is_set_up": settings.MAIL_IS_SET_UP,
        "openid_name": settings.OIDC_NAME if settings.OIDC_ISSUER else "",
        "openid_provider": settings.OIDC_PROVIDER,
    }
