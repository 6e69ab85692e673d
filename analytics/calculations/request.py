"""Requests for calculations. API and form hand in the same body; this module validates and queues it."""

import secrets
from typing import Any

from django.db import transaction
from rest_framework.exceptions import ValidationError

from analytics import runs
from analytics.calculations.serializers import DEFAULT_KERNEL, LARGEST_SEED, SERIALIZERS
from analytics.kernels import KERNELS
from analytics.kernels.declaration import Kernel, Values
from analytics.models import Calculation
from analytics.tasks import run_calculation


class KernelGone(Exception):
    """The product no longer has the calculation's kernel."""


def calculation_from(body: Any, asker: Any) -> Calculation:
    """The calculation that a body describes, not yet stored. Raises REST framework's ValidationError."""
    if not isinstance(body, dict):
        raise ValidationError("Must be an object.")
    name = body.get("kernel", DEFAULT_KERNEL)
    if not isinstance(name, str) or name not in KERNELS:
        raise ValidationError({"kernel": f"Unknown kernel; the kernels are: {', '.join(KERNELS)}."})
    serializer = SERIALIZERS[name](data=body, context={"asker": asker})
    serializer.is_valid(raise_exception=True)
    return new_calculation(KERNELS[name], **serializer.validated_data, asked_by=asker)


def new_calculation(
    kernel: Kernel, parameters: Values, *, seed: int | None = None, **fields: Any
) -> Calculation:
    """A calculation with validated parameters, not yet stored. Without a seed one is drawn."""
    return Calculation(
        kernel=kernel.name,
        kernel_version=kernel.version,
        parameters=kernel.written(parameters),
        seed=secrets.randbelow(LARGEST_SEED + 1) if seed is None else seed,
        **fields,
    )


def repeated_calculation(calculation: Calculation, asker: Any) -> Calculation:
    """A copy with the same parameters and seed, not yet stored.

    Raises KernelGone, and ValidationError if the parameters are no longer valid, such as an erased device.
    """
    if calculation.kernel not in KERNELS:
        raise KernelGone(f"There is no kernel {calculation.kernel} any more.")
    same = {"kernel": calculation.kernel, "name": calculation.name, "seed": calculation.seed}
    copy = calculation_from(same | calculation.parameters, asker)
    copy.rerun_of = calculation
    return copy


@transaction.atomic
def queue_calculation(calculation: Calculation) -> Calculation:
    runs.enqueue(calculation, run_calculation)
    return calculation
