"""Settings of drf-spectacular, which makes the OpenAPI document; `config.settings` adds the version."""

from config.openapi.introduction import INTRODUCTION

DOCUMENT = {
    "TITLE": "Plumbline",
    "DESCRIPTION": INTRODUCTION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "config.openapi.completion.complete",
    ],
}
