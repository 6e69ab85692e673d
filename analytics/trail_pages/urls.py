from django.urls import path

from analytics.trail_pages import views

app_name = "trail"
urlpatterns = [
    path("portal/trail/", views.trail, name="trail"),
    path("portal/trail.csv", views.trail_file, name="trail-file"),
]
