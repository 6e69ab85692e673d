from django.urls import include, path, register_converter
from django.urls.converters import StringConverter

from devices import api, readings_api, views
from devices.exclusions import api as exclusion_api
from devices.ingestion import api as ingestion
from devices.onboarding import views as onboarding
from devices.profiles import api as profiles_api
from devices.settings_pages import views as settings_pages


class AnyText(StringConverter):
    """Matches any text, including slashes and line ends."""

    regex = r"[\s\S]+"


register_converter(AnyText, "any")

app_name = "devices"
urlpatterns = [
    path("devices/<uuid:uuid>/stats/", ingestion.DeviceStats.as_view(), name="api-device-stats"),
    path("devices/<uuid:uuid>/stats/batch", ingestion.DeviceBatch.as_view(), name="api-device-batch"),
    path("devices/", api.DeviceList.as_view(), name="api-device-list"),
    path("devices/<uuid:uuid>/", api.DeviceDetail.as_view(), name="api-device"),
    path("devices/<uuid:uuid>/keys/", api.KeyList.as_view(), name="api-key-list"),
    path("devices/<uuid:uuid>/keys/<slug:prefix>/", api.KeyDetail.as_view(), name="api-key"),
    path("devices/<uuid:uuid>/exclusions/", exclusion_api.ExclusionList.as_view(), name="api-exclusion-list"),
    path(
        "devices/<uuid:uuid>/exclusions/<int:pk>/",
        exclusion_api.ExclusionDetail.as_view(),
        name="api-exclusion",
    ),
    path(
        "devices/<uuid:uuid>/exclusions/<int:pk>/lift",
        exclusion_api.ExclusionLift.as_view(),
        name="api-exclusion-lift",
    ),
    path("profiles/", profiles_api.ProfileList.as_view(), name="api-profile-list"),
    path("profiles/<slug:name>/", profiles_api.ProfileDetail.as_view(), name="api-profile"),
    path("data", ingestion.SensorData.as_view(), name="api-sensor-data"),
    path("statistics/<any:sensor>", readings_api.SensorStatistics.as_view(), name="api-sensor-statistics"),
    path("stats/", readings_api.ReadingList.as_view(), name="api-reading-list"),
    path("stats/<uuid:uuid>/", readings_api.DeviceReadingList.as_view(), name="api-device-reading-list"),
    path("portal/devices/", views.device_list, name="device-list"),
    path("portal/devices/new/", onboarding.add_device, name="device-new"),
    path("portal/devices/owners/", onboarding.owner_search, name="owner-search"),
    path("portal/devices/<uuid:uuid>/connect/", onboarding.connect, name="connect"),
    path("portal/devices/<uuid:uuid>/connect/state/", onboarding.connection, name="connection"),
    path("portal/devices/<uuid:uuid>/connect/test/", onboarding.send_trial, name="trial"),
    path("portal/devices/bin/", settings_pages.bin_list, name="bin"),
    path("portal/devices/bin/<uuid:uuid>/bring-back/", settings_pages.bring_back, name="bring-back"),
    path("portal/devices/bin/<uuid:uuid>/erase/", settings_pages.erase_device, name="erase"),
    path("portal/devices/<uuid:uuid>/settings/", settings_pages.device_settings, name="settings"),
    path("portal/devices/<uuid:uuid>/delete/", settings_pages.delete_device, name="delete"),
    path(
        "portal/devices/<uuid:uuid>/keys/<slug:prefix>/revoke/", settings_pages.revoke_key, name="revoke-key"
    ),
    path("portal/profiles/new/", onboarding.add_profile, name="profile-new"),
    path("portal/devices/<uuid:uuid>/exclusions/", views.exclusion_list, name="exclusion-list"),
    path("portal/devices/<uuid:uuid>/exclusions/<int:pk>/lift/", views.lift_exclusion, name="exclusion-lift"),
    path("portal/import/", include("devices.imports.urls")),
]
