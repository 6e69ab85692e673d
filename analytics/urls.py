from django.urls import path

from analytics.analyses import api as analyses_api
from analytics.analyses import task_api
from analytics.analyses import views as analyses_pages
from analytics.calculations import api as calculations_api
from analytics.calculations import views as calculations_pages
from analytics.device_pages import views as device_pages

app_name = "analytics"
urlpatterns = [
    path("devices/<uuid:uuid>/analytics/", analyses_api.DeviceAnalysis.as_view(), name="api-device-analysis"),
    path("devices/<uuid:uuid>/series/", analyses_api.DeviceSeries.as_view(), name="api-device-series"),
    path("users/<int:pk>/analytics/", analyses_api.UserAnalysis.as_view(), name="api-user-analysis"),
    path("tasks/", task_api.TaskList.as_view(), name="api-task-list"),
    path("tasks/<uuid:pk>/", task_api.TaskDetail.as_view(), name="api-task"),
    path("tasks/<uuid:pk>/cancel/", task_api.TaskCancel.as_view(), name="api-task-cancel"),
    path("tasks/<uuid:pk>/devices/", task_api.TaskDevices.as_view(), name="api-task-devices"),
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
    path("portal/devices/<uuid:uuid>/", device_pages.device, name="device"),
    path("portal/devices/<uuid:uuid>/latest/", device_pages.device_latest, name="device-latest"),
    path("portal/devices/<uuid:uuid>/stretch/", device_pages.device_stretch, name="device-stretch"),
    path("portal/devices/<uuid:uuid>/readings/", device_pages.device_readings, name="device-readings"),
    path("portal/devices/<uuid:uuid>/statistics/", device_pages.device_statistics, name="device-statistics"),
    path("portal/devices/<uuid:uuid>/runs/", device_pages.device_runs, name="device-runs"),
    path("portal/analyses/", analyses_pages.analysis_list, name="analysis-list"),
    path("portal/analyses/stale/", analyses_pages.stale_analyses, name="analysis-stale"),
    path("portal/analyses/<uuid:pk>/", analyses_pages.analysis, name="analysis"),
    path("portal/analyses/<uuid:pk>/chart/", analyses_pages.analysis_chart, name="analysis-chart"),
    path("portal/analyses/<uuid:pk>/cancel/", analyses_pages.cancel_analysis, name="analysis-cancel"),
    path("portal/analyses/<uuid:pk>/buckets.csv", analyses_pages.bucket_file, name="bucket-file"),
    path("portal/calculations/", calculations_pages.calculation_list, name="calculation-list"),
    path("portal/calculations/states/", calculations_pages.calculation_states, name="calculation-states"),
    path("portal/calculations/new/", calculations_pages.new_calculation, name="calculation-new"),
    path("portal/calculations/<uuid:pk>/", calculations_pages.calculation, name="calculation"),
    path(
        "portal/calculations/<uuid:pk>/chart/", calculations_pages.calculation_chart, name="calculation-chart"
    ),
    path(
        "portal/calculations/<uuid:pk>/cancel/",
        calculations_pages.cancel_calculation,
        name="calculation-cancel",
    ),
    path(
        "portal/calculations/<uuid:pk>/rerun/", calculations_pages.rerun_calculation, name="calculation-rerun"
    ),
    path(
        "portal/calculations/<uuid:pk>/compare/",
        calculations_pages.compare_calculations,
        name="calculation-compare",
    ),
]
