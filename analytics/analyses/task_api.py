"""The API of tasks, which are analyses: list, read, cancel, delete, and page through a fleet's devices."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django_celery_results.models import TaskResult
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param
from rest_framework.views import APIView

from analytics import runs
from analytics.analyses.answer import task_answer
from analytics.analyses.filters import CELERY_STATUS, TaskFilter
from analytics.analyses.serializers import RESULT, SUMMARY, TASK, ListedTaskSerializer, TaskSerializer
from analytics.analyses.stored_result import device_rows
from analytics.models import Analysis, AnalysisQuerySet, Status
from devices.api import DONE_EXAMPLE
from users.api_errors import Conflict
from users.serializers import component_list

PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
DEVICE_ROW = {name: RESULT[name] for name in ("device_id", "first", "last", "excluded", "coverage")}


class TaskList(generics.ListAPIView):
    serializer_class = ListedTaskSerializer
    filterset_class = TaskFilter
    query_parameters = ()
    keyset = ("-asked_at", "-id")

    def get_queryset(self) -> AnalysisQuerySet:
        return Analysis.objects.visible_to(self.request.user).as_rows()

    @extend_schema(operation_id="task_list")
    def get(self, request: Request) -> Response:
        """List analyses, newest first.

        Admin and staff see all, an owner those of their devices and of their fleet. A row has the question
        and the state; `GET /tasks/{id}` has the result.
        """
        return self.list(request)


class TaskDetail(APIView):
    query_parameters = ()
    conflicts = {"DELETE": "It is not over: cancel it first."}

    @extend_schema(
        operation_id="task_read",
        responses=TaskSerializer,
        examples=[
            OpenApiExample(
                "Done", TASK | {"status": "SUCCESS", "progress": 100, "stale": False, "result": RESULT}
            )
        ],
    )
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        """Read the status and the result of a task.

        `stale` becomes true when readings of its period are added late, deleted or excluded, and, for a
        period without an end, when new readings arrive. The result remains; the same question then gets a new
        task.
        """
        task = visible_task(request, pk)
        with deleted_is_404():
            return task_answer(task)

    @extend_schema(operation_id="task_delete", responses={204: None}, examples=DONE_EXAMPLE)
    def delete(self, request: Request, pk: UUID) -> Response:
        """Delete a task that is over, with its result.

        One that is not over is 409: cancel it first. The same question gets a new task afterwards.
        """
        visible = Analysis.objects.visible_to(request.user).filter(pk=pk).only("status")
        get_object_or_404(visible)
        if not runs.discard(Analysis.objects.filter(pk=pk)):
            run = get_object_or_404(visible.all())
            raise Conflict(f"It is {CELERY_STATUS[run.status]}: cancel it first.")
        return Response(status=204)


class TaskCancel(APIView):
    query_parameters = ()
    conflicts = {"POST": "It is over."}

    @extend_schema(
        operation_id="task_cancel",
        request=None,
        responses={202: TaskSerializer},
        examples=[
            OpenApiExample(
                "Cancelled",
                TASK | {"status": "REVOKED", "progress": 0, "stale": False},
                response_only=True,
                status_codes=["202"],
            )
        ],
    )
    def post(self, request: Request, pk: UUID) -> Response:
        """Cancel a task.

        A queued one ends at once, a running one within two seconds. One that is over is 409. The same
        question gets a new task afterwards.
        """
        run = visible_task(request, pk)
        is_cancelled = runs.cancel(run)
        run.refresh_from_db(fields=["status"])
        if not is_cancelled and run.status != Status.CANCELLED:
            raise Conflict(f"It is {CELERY_STATUS[run.status]} already.")
        return Response(TaskSerializer(run).data, status=202)


class TaskDevices(APIView):
    query_parameters = ("limit", "cursor")
    conflicts = {"GET": "It has no result."}

    @extend_schema(
        operation_id="task_devices",
        parameters=[
            OpenApiParameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE},
                description=f"Devices per page (default {PAGE_SIZE}).",
            ),
            OpenApiParameter(
                "cursor", OpenApiTypes.UUID, description="From the `Link` header of the page before."
            ),
        ],
        responses={200: component_list("DeviceRow")},
        examples=[OpenApiExample("Devices", [DEVICE_ROW | {"x": SUMMARY}])],
    )
    def get(self, request: Request, pk: UUID) -> Response:
        """Page through the devices in the result of a user's analysis, by id.

        Each row is as flat as the result of one device. An analysis of one device is 404, one without a
        result 409.
        """
        task = visible_task(request, pk)
        if task.user_id is None:
            raise Http404
        if task.status != Status.FINISHED or task.task_result_id is None:
            raise Conflict(f"It has no result: it is {CELERY_STATUS[task.status]}.")
        limit = page_size(request)
        rows, total = device_rows(task, after=cursor(request), limit=limit + 1)
        page, url = rows[:limit], request.build_absolute_uri()
        links = {"first": remove_query_param(url, "cursor")}
        if len(rows) > limit:
            links["next"] = replace_query_param(url, "cursor", page[-1]["device_id"])
        header = ", ".join(f'<{link}>; rel="{name}"' for name, link in links.items())
        return Response(page, headers={"Link": header, "X-Total-Count": str(total)})


def visible_task(request: Request, pk: UUID) -> Analysis:
    """Return an analysis that the user may see, with its result. Raises Http404."""
    visible = Analysis.objects.visible_to(request.user).select_related("task_result")
    # It may have megabytes, and is read when it is used.
    return get_object_or_404(visible.defer("task_result__result"), pk=pk)


@contextmanager
def deleted_is_404() -> Iterator[None]:
    """The result is read after its task, and both may be deleted between."""
    try:
        yield
    except TaskResult.DoesNotExist as error:
        raise Http404 from error


def page_size(request: Request) -> int:
    text = request.query_params.get("limit", str(PAGE_SIZE))
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= MAX_PAGE_SIZE):
        raise ValidationError({"limit": f"Must be a whole number from 1 to {MAX_PAGE_SIZE}."})
    return int(text)


def cursor(request: Request) -> str:
    """The id of the last device of the page before; empty for the first page."""
    text = request.query_params.get("cursor")
    if text is None:
        return ""
    try:
        return str(UUID(text))
    except ValueError as error:
        raise ValidationError({"cursor": "Not a cursor of this list."}) from error
