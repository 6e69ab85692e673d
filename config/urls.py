from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularRedocView, SpectacularSwaggerSplitView

from config import views
from config.openapi.document import CachedSchemaGenerator

handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = views.server_error

urlpatterns = [
    # Tried in this order: posts of readings, the most frequent requests, come first.
    path("", include("devices.urls")),
    path("", views.start),
    path("portal/", views.start),
    path("admin/", admin.site.urls),
    path("", include("users.urls")),
    path("", include("analytics.urls")),
    path("", include("analytics.activity.urls")),
    path("schema/", SpectacularJSONAPIView.as_view(generator_class=CachedSchemaGenerator), name="schema"),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("redoc", SpectacularRedocView.as_view(url_name="schema"), name="redoc"),
]
