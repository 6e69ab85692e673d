from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class ConfigConfig(AppConfig):
    name = "config"
    verbose_name = "Plumbline"


class PlumblineAdminConfig(AdminConfig):
    default_site = "config.admin.PlumblineAdminSite"
