from django.contrib import admin
from django.http import HttpRequest


class PlumblineAdminSite(admin.AdminSite):
    site_header = "Plumbline"
    site_title = "Plumbline admin"
    index_title = "Administration"
    site_url = "/portal/"

    def has_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_staff
