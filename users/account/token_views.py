"""The page of one's own API tokens."""

from allauth.account.decorators import reauthentication_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from users.account.forms import NewTokenForm
from users.limits import LimitReached
from users.models import Token
from users.permissions import signed_in

PAGE_SIZE = 50


@require_http_methods(["GET", "POST"])
@reauthentication_required(allow_get=True)
def tokens(request: HttpRequest) -> HttpResponse:
    """List the user's tokens. The answer of the POST, and no other, has the text of the new one."""
    user, now = signed_in(request), timezone.now()
    form, text = NewTokenForm(request.POST or None), ""
    if form.is_valid():
        try:
            _token, text = Token.issue(user=user, **form.fields_of_token(now))
            form = NewTokenForm()
        except LimitReached as error:
            form.add_error(None, str(error))
    usable = user.tokens.filter(revoked_at=None).order_by("-pk")
    page = Paginator(usable, PAGE_SIZE).get_page(request.GET.get("page"))
    values = {"form": form, "text": text, "page": page, "now": now}
    return render(request, "users/tokens.html", values, status=400 if form.errors else 200)


@require_POST
def revoke_token(request: HttpRequest, prefix: str) -> HttpResponse:
    get_object_or_404(signed_in(request).tokens, prefix=prefix).revoke(timezone.now())
    return redirect("account_tokens")
