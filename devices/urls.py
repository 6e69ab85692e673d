from django.urls import path

from devices import api, views

app_name = "devices"
urlpatterns = [
    path("devices/", api.DeviceList.as_view(), name="api-device-list"),
    path("devices/<uuid:uuid>/", api.DeviceDetail.as_view(), name="api-device"),
    path("devices/<uuid:uuid>/keys/", api.KeyList.as_view(), name="api-key-list"),
    path("devices/<uuid:uuid>/keys/<slug:prefix>/", api.KeyDetail.as_view(), name="api-key"),
    path("devices/<uuid:uuid>/stats/", api.DeviceStats.as_view(), name="api-device-stats"),
    path("stats/", api.ReadingList.as_view(), name="api-reading-list"),
    path("stats/<uuid:uuid>/", api.DeviceReadingList.as_view(), name="api-device-reading-list"),
    path("portal/devices/", views.device_list, name="device-list"),
]
