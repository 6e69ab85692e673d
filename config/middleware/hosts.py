"""The host and the path of a request: health probes, foreign hosts, optional trailing slashes."""

from collections.abc import Callable
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.urls import is_valid_path

from config.error_pages import UNKNOWN_HOST, error_response
from config.health import healthz, livez
from config.problems import problem

GetResponse = Callable[[HttpRequest], HttpResponse]
PROBES: dict[str, GetResponse] = {"/healthz": healthz, "/livez": livez}


def health(get_response: GetResponse) -> GetResponse:
    """Answer /healthz and /livez before the host check: an orchestrator probes by address."""

    def middleware(request: HttpRequest) -> HttpResponse:
        probe = PROBES.get(request.path_info.rstrip("/"))
        if probe is None:
            return get_response(request)
        if request.method in ("GET", "HEAD"):
            return probe(request)
        response = problem(405)
        response["Allow"] = "GET, HEAD"
        return response

    return middleware


def known_host_and_slash(get_response: GetResponse) -> GetResponse:
    """Refuse foreign Host headers, and make a trailing slash optional without a redirect."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if is_foreign_name(request.get_host()):
            detail = "An open demo answers to localhost and to IP addresses only."
            return error_response(request, UNKNOWN_HOST, detail, detail)
        path = request.path_info
        if not is_valid_path(path):
            other = path[:-1] if path.endswith("/") else f"{path}/"
            if is_valid_path(other):
                request.path_info = other
        return get_response(request)

    return middleware


def is_foreign_name(host: str) -> bool:
    """Return True for a host name other than localhost in a demo that allows every host.

    A foreign site could point such a name at this computer and so reach the open demo (DNS rebinding).
    """
    if not settings.DEMO or "*" not in settings.ALLOWED_HOSTS:
        return False
    name = split_domain_port(host)[0]
    if name == "localhost":
        return False
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return True
    return False
