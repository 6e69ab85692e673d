from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularRedocView, SpectacularSwaggerSplitView

from analytics.activity.sessions import LogIn, LogOut
from config import views
from config.openapi.document import CachedSchemaGenerator

handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler429 = views.too_many_requests
handler500 = views.server_error

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
    path("schema/", SpectacularJSONAPIView.as_view(generator_class=CachedSchemaGenerator), name="schema"),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("redoc", SpectacularRedocView.as_view(url_name="schema"), name="redoc"),
]
