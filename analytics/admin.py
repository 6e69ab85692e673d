from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django_celery_results.admin import TaskResultAdmin
from django_celery_results.models import GroupResult, TaskResult

from analytics import runs
from analytics.models import Analysis, AnalysisQuerySet, Calculation, Run

# Celery groups are not used; task results are registered again, read-only.
admin.site.unregister(GroupResult)
admin.site.unregister(TaskResult)


class ReadOnly:
    """Mixed into a ModelAdmin of rows that only the product writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(TaskResult)
class ReadOnlyTaskResultAdmin(ReadOnly, TaskResultAdmin):
    def get_queryset(self, request: HttpRequest) -> QuerySet:
        # A list of large results would take gigabytes.
        return super().get_queryset(request).defer("result", "traceback", "meta")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RunAdmin(ReadOnly, admin.ModelAdmin):
    """Shows and cancels runs; pages and API request them."""

    list_filter: ClassVar[tuple[str, ...]] = ("status",)
    actions = ("cancel",)

    @admin.action(description="Cancel", permissions=["view"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[Run]) -> None:
        count = sum(runs.cancel(run) for run in chosen)
        messages.success(request, f"Cancelled: {count}.")


@admin.register(Analysis)
class AnalysisAdmin(RunAdmin):
    list_display = ("id", "device", "user", "start", "end", "status", "attempts", "asked_by", "asked_at")
    list_select_related = ("device", "user", "asked_by")
    search_fields = ("id", "device__name", "device__uuid", "user__login")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return cast(AnalysisQuerySet, super().get_queryset(request)).as_rows()


@admin.register(Calculation)
class CalculationAdmin(RunAdmin):
    list_display = (
        "id",
        "name",
        "kernel",
        "status",
        "progress",
        "row_count",
        "attempts",
        "asked_by",
        "asked_at",
    )
    list_filter = ("status", "kernel")
    list_select_related = ("asked_by",)
    search_fields = ("id", "name", "asked_by__login")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
