"""Asking for a calculation: API and form hand in the same body, and it is judged here."""

from typing import Any

from django.db import transaction
from rest_framework.exceptions import APIException, ValidationError

from analytics import runs
from analytics.calculations import compute
from analytics.calculations.serializers import DEFAULT_KERNEL, SERIALIZERS
from analytics.kernels import KERNELS
from analytics.models import Calculation
from analytics.tasks import run_calculation


class Conflict(APIException):
    status_code = 409


def calculation_from(body: Any, asker: Any) -> Calculation:
    """The calculation that a body describes, not yet stored. Raises ValidationError by field."""
    if not isinstance(body, dict):
        raise ValidationError("Must be an object.")
    name = body.get("kernel", DEFAULT_KERNEL)
    if not isinstance(name, str) or name not in KERNELS:
        raise ValidationError({"kernel": f"Unknown kernel; there are: {', '.join(KERNELS)}."})
    serializer = SERIALIZERS[name](data=body, context={"asker": asker})
    serializer.is_valid(raise_exception=True)
    return compute.new_calculation(KERNELS[name], **serializer.validated_data, asked_by=asker)


@transaction.atomic
def queue_calculation(calculation: Calculation) -> Calculation:
    runs.enqueue(calculation, run_calculation)
    return calculation


def repeated_calculation(calculation: Calculation, asker: Any) -> Calculation:
    """A copy with the same parameters and seed, not yet stored; what it needs must still be there."""
    if calculation.kernel not in KERNELS:
        raise Conflict(f"There is no kernel {calculation.kernel} any more.")
    same = {"kernel": calculation.kernel, "name": calculation.name, "seed": calculation.seed}
    copy = calculation_from(same | calculation.parameters, asker)
    copy.rerun_of = calculation
    return copy
