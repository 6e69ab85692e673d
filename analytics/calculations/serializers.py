"""The body of a request for a calculation: a serializer for each kernel, made from its declaration."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from analytics.kernels import KERNELS
from analytics.kernels.declaration import InvalidParameters, Kernel
from users.serializers import StrictFields, Text, WholeNumber

DEFAULT_KERNEL = "well"
# JSON parsers that read numbers as doubles change larger whole numbers.
LARGEST_SEED = 2**53 - 1


class KernelSerializer(StrictFields, serializers.Serializer):
    """Base of the kernels' serializers, which add the parameters as fields.

    The context's `asker` is the user who requests the calculation.
    """

    declared: Kernel
    name = Text(max_length=200, required=False, allow_blank=True, default="")
    seed = WholeNumber(
        min_value=0,
        max_value=LARGEST_SEED,
        required=False,
        help_text="The same seed gives the same table; without one, a seed is drawn and recorded.",
    )

    def validate(self, fields: dict[str, Any]) -> dict[str, Any]:
        parameters = {parameter.name: fields.pop(parameter.name) for parameter in self.declared.parameters}
        try:
            self.declared.check(parameters, self.context["asker"])
        except InvalidParameters as error:
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
