"""The answer of a finished task whose result may be large: it is sent as it is stored."""

from collections.abc import Iterable, Iterator
from itertools import chain

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django_celery_results.models import TaskResult
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from analytics.analyses.serializers import TaskSerializer, TaskStateSerializer
from analytics.analyses.stored_result import answered_pieces
from analytics.models import Analysis, Status

JSON = "application/json"


def may_be_large(analysis: Analysis) -> bool:
    """Tell, without reading it, whether the result may have megabytes: many buckets or devices."""
    has_result = analysis.status == Status.FINISHED and analysis.task_result_id is not None
    return has_result and bool(analysis.bucket or analysis.user_id)


def task_answer(analysis: Analysis, status: int = 200) -> HttpResponseBase:
    """The task's answer. Raises TaskResult.DoesNotExist if the result was deleted meanwhile."""
    if may_be_large(analysis):
        return answer_as_stored(analysis, status)
    return Response(TaskSerializer(analysis).data, status=status)


def answer_as_stored(analysis: Analysis, status: int) -> HttpResponseBase:
    state = JSONRenderer().render(TaskStateSerializer(analysis).data)
    pieces = answered_pieces(analysis)
    first, second = next(pieces, None), next(pieces, None)
    if first is None:
        raise TaskResult.DoesNotExist
    if second is None:
        return HttpResponse(b"".join(around([first], state)), content_type=JSON, status=status)
    return StreamingHttpResponse(
        around(chain((first, second), pieces), state), content_type=JSON, status=status
    )


def around(pieces: Iterable[bytes], state: bytes) -> Iterator[bytes]:
    yield b'{"result":'
    yield from pieces
    yield b"," + state[1:]
