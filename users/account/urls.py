"""The pages of an account. Names without a namespace are those that django-allauth looks up."""

from allauth.account import views as allauth_views
from allauth.socialaccount import views as openid_views
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from django.urls import include, path, re_path

from users.account import invitation_views, token_views, views

urlpatterns = [
    path("", views.profile, name="account_profile"),
    path("email/", views.email, name="account_email"),
    path("email/<str:secret>/", views.confirm_email, name="account_confirm_email"),
    path("tokens/", token_views.tokens, name="account_tokens"),
    path("tokens/<slug:prefix>/revoke/", token_views.revoke_token, name="account_revoke_token"),
    path("sessions/", views.sessions, name="usersessions_list"),
    path("invitations/", invitation_views.invitations, name="account_invitations"),
    path(
        "invitations/<slug:prefix>/withdraw/",
        invitation_views.withdraw_invitation,
        name="account_withdraw_invitation",
    ),
    path("invited/<str:secret>/", invitation_views.accept_invitation, name="account_accept_invitation"),
    path("password/change/", allauth_views.password_change, name="account_change_password"),
    path("password/set/", allauth_views.password_set, name="account_set_password"),
    path("password/reset/", allauth_views.password_reset, name="account_reset_password"),
    path("password/reset/done/", allauth_views.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        views.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/key/done/",
        allauth_views.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("inactive/", allauth_views.account_inactive, name="account_inactive"),
    path("reauthenticate/", allauth_views.reauthenticate, name="account_reauthenticate"),
    path("2fa/", include("allauth.mfa.urls")),
    path("openid/cancelled/", openid_views.login_cancelled, name="socialaccount_login_cancelled"),
    path("openid/error/", openid_views.login_error, name="socialaccount_login_error"),
    path("oidc/<str:provider_id>/login/", views.openid_login, name="openid_connect_login"),
    path("oidc/<str:provider_id>/login/callback/", openid_connect.callback, name="openid_connect_callback"),
]
