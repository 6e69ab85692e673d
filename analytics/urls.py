from django.urls import path

from analytics import api, calculations_api, views

app_name = "analytics"
urlpatterns = [
    path("devices/<uuid:uuid>/analytics/", api.DeviceAnalysis.as_view(), name="api-device-analysis"),
    path("users/<int:pk>/analytics/", api.UserAnalysis.as_view(), name="api-user-analysis"),
    path("tasks/<uuid:pk>/", api.TaskDetail.as_view(), name="api-task"),
    path("calculations/", calculations_api.CalculationList.as_view(), name="api-calculation-list"),
    path("calculations/<uuid:pk>/", calculations_api.CalculationDetail.as_view(), name="api-calculation"),
    path(
        "calculations/<uuid:pk>/cancel/",
        calculations_api.CalculationCancel.as_view(),
        name="api-calculation-cancel",
    ),
    path(
        "calculations/<uuid:pk>/rerun/",
        calculations_api.CalculationRerun.as_view(),
        name="api-calculation-rerun",
    ),
    path("portal/devices/<uuid:uuid>/", views.device, name="device"),
    path("portal/analyses/", views.analysis_list, name="analysis-list"),
    path("portal/analyses/<uuid:pk>/", views.analysis, name="analysis"),
]
