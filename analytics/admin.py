from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django_celery_results.admin import TaskResultAdmin
from django_celery_results.models import GroupResult, TaskResult

from analytics import queue
from analytics.models import Analysis

# No task belongs to a group.
admin.site.unregister(GroupResult)
admin.site.unregister(TaskResult)


class ReadOnly:
    """Mixed into a ModelAdmin: what the product writes itself is only looked at."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(TaskResult)
class ReadOnlyTaskResultAdmin(ReadOnly, TaskResultAdmin):
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Analysis)
class AnalysisAdmin(ReadOnly, admin.ModelAdmin):
    """To look at, to cancel and to delete; they are asked for on the pages and in the API."""

    list_display = ("id", "device", "user", "start", "end", "status", "attempts", "asked_by", "asked_at")
    list_filter = ("status",)
    search_fields = ("id", "device__name", "device__uuid", "user__login")
    actions = ("cancel",)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).as_rows()

    @admin.action(description="Cancel", permissions=["view"])
    def cancel(self, request: HttpRequest, analyses: QuerySet) -> None:
        count = sum(queue.cancel(analysis) for analysis in analyses)
        messages.success(request, f"Cancelled: {count}.")
