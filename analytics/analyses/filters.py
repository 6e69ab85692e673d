from typing import Any

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field

from analytics.models import Analysis, AnalysisQuerySet, Status
from devices.filters import ROW_ID, whole_number

# The words of Celery, which the API says.
CELERY_STATUS: dict[str, str] = {
    Status.QUEUED: "PENDING",
    Status.RUNNING: "STARTED",
    Status.FINISHED: "SUCCESS",
    Status.FAILED: "FAILURE",
    Status.CANCELLED: "REVOKED",
}
STATUS_OF_WORD = {word: status for status, word in CELERY_STATUS.items()}


class TaskFilter(filters.FilterSet):
    device = filters.UUIDFilter(field_name="device__uuid", label="Analyses of this device.")
    user = extend_schema_field(ROW_ID)(
        filters.CharFilter(
            field_name="user_id", validators=[whole_number], label="Analyses of all devices of this user."
        )
    )
    status = filters.ChoiceFilter(choices=[(word, word) for word in STATUS_OF_WORD], method="by_status")

    class Meta:
        model = Analysis
        fields = ()

    def by_status(self, analyses: AnalysisQuerySet, _: str, word: Any) -> AnalysisQuerySet:
        return analyses.filter(status=STATUS_OF_WORD[word])
