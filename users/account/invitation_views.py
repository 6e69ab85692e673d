"""Pages of invitations: the admins' list, and the form of the invited person."""

from allauth.account.adapter import get_adapter
from allauth.account.utils import perform_login
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from users.account.adapters import MailFailed
from users.account.forms import AcceptForm, InviteForm
from users.account.invitations import InvitationRefused, NameTaken, accept, invite, open_invitation
from users.models import Invitation, User
from users.permissions import signed_in

PAGE_SIZE = 50


def require_inviter(request: HttpRequest) -> User:
    """Return the admin who asks. Raises PermissionDenied: the rule is that of `POST /users/`."""
    user = signed_in(request)
    if not user.is_admin:
        raise PermissionDenied
    return user


@require_http_methods(["GET", "POST"])
def invitations(request: HttpRequest) -> HttpResponse:
    """List invitations. The answer of the POST, and no other, has the link of the new one."""
    admin, now = require_inviter(request), timezone.now()
    form, made = InviteForm(request.POST or None), {}
    if form.is_valid():
        made = send_invitation(request, form, admin)
        form = InviteForm()
    rows = Invitation.objects.select_related("invited_by", "accepted_by").order_by("-pk")
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    listed = [(row, row.state(now)) for row in page]
    values = {"form": form, "page": page, "rows": listed, **made}
    return render(request, "users/invitations.html", values, status=400 if form.errors else 200)


def send_invitation(request: HttpRequest, form: InviteForm, admin: User) -> dict[str, object]:
    """Store the invitation and mail its link; return what the page shows."""
    email, role = form.cleaned_data["email"], form.cleaned_data["role"]
    _row, secret = invite(email, role, by=admin, now=timezone.now())
    url = request.build_absolute_uri(reverse("account_accept_invitation", args=[secret]))
    values = {"url": url, "inviter": admin}
    try:
        sent = get_adapter(request).deliver_mail("users/email/invitation", email, values)
    except MailFailed:
        sent = False
    return {"link": url, "invited": email, "is_sent": sent}


@require_POST
def withdraw_invitation(request: HttpRequest, prefix: str) -> HttpResponse:
    require_inviter(request)
    get_object_or_404(Invitation, prefix=prefix).revoke(timezone.now())
    return redirect("account_invitations")


@login_not_required
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def accept_invitation(request: HttpRequest, secret: str) -> HttpResponse:
    now = timezone.now()
    try:
        invitation = open_invitation(secret, now)
        form = AcceptForm(request.POST or None, invitation=invitation)
        if form.is_valid():
            fields = form.cleaned_data
            user = accept(
                invitation, login=fields["login"], name=fields["name"], password=fields["password1"], now=now
            )
            return perform_login(request, user, email_verification="none")
    except InvitationRefused:
        return render(request, "users/invitation.html", status=410)
    except NameTaken:
        form.add_error(None, "Another account has this login or this email.")
    values = {"form": form, "invitation": invitation}
    return render(request, "users/invitation.html", values, status=400 if form.errors else 200)
