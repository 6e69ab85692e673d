"""The answer of a finished task whose result may be large: the result is not parsed and written each time."""

from django.http import HttpResponse
from rest_framework.renderers import JSONRenderer

from analytics.analyses.fleet_devices import answered_result
from analytics.analyses.serializers import TaskStateSerializer
from analytics.models import Analysis, Status
from users.redis_cache import cached

# A finished result never changes, so this only bounds Redis's memory.
CACHE_SECONDS = 600


def may_be_large(analysis: Analysis) -> bool:
    """Tell, without reading it, whether the result may have megabytes: many buckets or devices."""
    return analysis.status == Status.FINISHED and bool(analysis.bucket or analysis.user_id)


def cached_answer(analysis: Analysis) -> HttpResponse:
    """The task's answer with its result as the cached text. Whether it is stale is asked each time."""
    result = cached(f"result-{analysis.pk}", CACHE_SECONDS, lambda: json_text(answered_result(analysis)))
    state = json_text(TaskStateSerializer(analysis).data)
    return HttpResponse(f'{{"result":{result},{state[1:]}', content_type="application/json")


def json_text(data: object) -> str:
    return JSONRenderer().render(data).decode()
