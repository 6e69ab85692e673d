"""Asking for a calculation: API and form hand in the same body, and it is judged here."""

from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import APIException, ValidationError

from analytics import calculations, queue
from analytics.calculations import LARGEST_SEED
from analytics.kernels import KERNELS
from analytics.kernels.declaration import Kernel, Refused
from analytics.models import Calculation
from analytics.tasks import run_calculation
from users.serializers import StrictFields, Text, WholeNumber

DEFAULT_KERNEL = "well"


class Conflict(APIException):
    status_code = 409


class KernelSerializer(StrictFields, serializers.Serializer):
    """A calculation that is asked for. Each kernel has its own subclass, with its parameters as fields.

    The context's `asker` is the user who asks.
    """

    declared: Kernel
    name = Text(max_length=200, required=False, allow_blank=True, default="")
    seed = WholeNumber(
        min_value=0,
        max_value=LARGEST_SEED,
        required=False,
        help_text="The same seed gives the same table; drawn and recorded if left out.",
    )

    def validate(self, fields: dict[str, Any]) -> dict[str, Any]:
        parameters = {parameter.name: fields.pop(parameter.name) for parameter in self.declared.parameters}
        try:
            self.declared.check(parameters, self.context["asker"])
        except Refused as error:
            raise ValidationError(error.errors) from error
        return {"parameters": parameters, "seed": fields.get("seed"), "name": fields["name"]}


def serializer_of(kernel: Kernel) -> type[KernelSerializer]:
    field = type("KernelName", (Text,), {})
    named = extend_schema_field({"type": "string", "const": kernel.name})(field)
    fields = {parameter.name: parameter.api_field() for parameter in kernel.parameters}
    fields["kernel"] = named(required=kernel.name != DEFAULT_KERNEL, help_text=f"{kernel.label}.")
    body = {"declared": kernel, "__doc__": kernel.description, **fields}
    return type(f"{kernel.name.title()}Calculation", (KernelSerializer,), body)


SERIALIZERS = {name: serializer_of(kernel) for name, kernel in KERNELS.items()}


def asked_for(body: Any, asker: Any) -> Calculation:
    """The calculation that a body describes, not yet stored. Raises ValidationError by field."""
    if not isinstance(body, dict):
        raise ValidationError("Must be an object.")
    name = body.get("kernel", DEFAULT_KERNEL)
    if not isinstance(name, str) or name not in KERNELS:
        raise ValidationError({"kernel": f"Unknown kernel; there are: {', '.join(KERNELS)}."})
    serializer = SERIALIZERS[name](data=body, context={"asker": asker})
    serializer.is_valid(raise_exception=True)
    return calculations.new(KERNELS[name], **serializer.validated_data, asked_by=asker)


@transaction.atomic
def ask(calculation: Calculation) -> Calculation:
    queue.ask(calculation, run_calculation)
    return calculation


def asked_again(calculation: Calculation, asker: Any) -> Calculation:
    """A copy with the same parameters and seed, not yet stored; what it needs must still be there."""
    if calculation.kernel not in KERNELS:
        raise Conflict(f"There is no kernel {calculation.kernel} any more.")
    same = {"kernel": calculation.kernel, "name": calculation.name, "seed": calculation.seed}
    copy = asked_for(same | calculation.parameters, asker)
    copy.rerun_of = calculation
    return copy
