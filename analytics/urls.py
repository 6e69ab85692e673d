from django.urls import path

from analytics import api, calculations_api, views
from analytics import calculations_views as pages

app_name = "analytics"
urlpatterns = [
    path("devices/<uuid:uuid>/analytics/", api.DeviceAnalysis.as_view(), name="api-device-analysis"),
    path("devices/<uuid:uuid>/series/", api.DeviceSeries.as_view(), name="api-device-series"),
    path("users/<int:pk>/analytics/", api.UserAnalysis.as_view(), name="api-user-analysis"),
    path("tasks/<uuid:pk>/", api.TaskDetail.as_view(), name="api-task"),
    path("tasks/<uuid:pk>/cancel/", api.TaskCancel.as_view(), name="api-task-cancel"),
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
    path("portal/analyses/stale/", views.stale_analyses, name="analysis-stale"),
    path("portal/analyses/<uuid:pk>/", views.analysis, name="analysis"),
    path("portal/analyses/<uuid:pk>/cancel/", views.cancel_analysis, name="analysis-cancel"),
    path("portal/analyses/<uuid:pk>/buckets.csv", views.bucket_file, name="bucket-file"),
    path("portal/calculations/", pages.calculation_list, name="calculation-list"),
    path("portal/calculations/states/", pages.calculation_states, name="calculation-states"),
    path("portal/calculations/new/", pages.new_calculation, name="calculation-new"),
    path("portal/calculations/<uuid:pk>/", pages.calculation, name="calculation"),
    path("portal/calculations/<uuid:pk>/chart/", pages.calculation_chart, name="calculation-chart"),
    path("portal/calculations/<uuid:pk>/cancel/", pages.cancel_calculation, name="calculation-cancel"),
    path("portal/calculations/<uuid:pk>/rerun/", pages.rerun_calculation, name="calculation-rerun"),
    path("portal/calculations/<uuid:pk>/compare/", pages.compare_calculations, name="calculation-compare"),
]
