from django.urls import path

from analytics import api, views

app_name = "analytics"
urlpatterns = [
    path("devices/<uuid:uuid>/analytics/", api.DeviceAnalysis.as_view(), name="api-device-analysis"),
    path("devices/<uuid:uuid>/series/", api.DeviceSeries.as_view(), name="api-device-series"),
    path("users/<int:pk>/analytics/", api.UserAnalysis.as_view(), name="api-user-analysis"),
    path("tasks/<uuid:pk>/", api.TaskDetail.as_view(), name="api-task"),
    path("portal/devices/<uuid:uuid>/", views.device, name="device"),
    path("portal/analyses/", views.analysis_list, name="analysis-list"),
    path("portal/analyses/<uuid:pk>/", views.analysis, name="analysis"),
    path("portal/analyses/<uuid:pk>/buckets.csv", views.bucket_file, name="bucket-file"),
]
