from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerSplitView

from analytics.activity.sessions import LogIn, LogOut
from config import views
from config.openapi.document import Document
from users.authentication import ViewerAuthentication

handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler429 = views.too_many_requests
handler500 = views.server_error

API_PAGE = {"url_name": "schema", "authentication_classes": [ViewerAuthentication]}

urlpatterns = [
    # Tried in this order: posts of readings, the most frequent requests, come first.
    path("", include("devices.urls")),
    path("", views.start),
    path("portal/", views.start),
    path("admin/", admin.site.urls),
    path("", include("users.urls")),
    path("", include("analytics.trail_pages.urls")),
    path("", include("analytics.urls")),
    path("", include("analytics.activity.urls")),
    # The names that django-allauth looks up.
    path("portal/login/", LogIn.as_view(), name="account_login"),
    path("portal/logout/", LogOut.as_view(), name="account_logout"),
    path("portal/account/", include("users.account.urls")),
    path(".well-known/security.txt", views.security_txt),
    path("schema/", Document.as_view(), name="schema"),
    path("docs", SpectacularSwaggerSplitView.as_view(**API_PAGE), name="docs"),
    path("redoc", SpectacularRedocView.as_view(**API_PAGE), name="redoc"),
]
