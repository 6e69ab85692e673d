from django.urls import path

from devices.imports import views

# Included in the names of `devices`.
urlpatterns = [
    path("", views.import_list, name="import"),
    path("states/", views.import_states, name="import-states"),
    path("<uuid:pk>/", views.import_detail, name="import-detail"),
    path("<uuid:pk>/faulty-rows.csv", views.import_faulty_rows, name="import-faulty-rows"),
    path("<uuid:pk>/<slug:action>/", views.import_action, name="import-action"),
]
