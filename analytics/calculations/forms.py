from typing import Any, cast

from django import forms
from rest_framework.exceptions import ValidationError

from analytics.calculations.request import calculation_from
from analytics.kernels.declaration import Kernel
from analytics.models import Calculation


class CalculationForm(forms.Form):
    """A kernel's inputs. The typed values become a body of the API, which validates it."""

    name = forms.CharField(max_length=200, required=False)
    seed = forms.IntegerField(
        required=False, help_text="The same seed gives the same table; if left empty, one is drawn."
    )

    def __init__(self, *args: Any, kernel: Kernel, asker: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kernel = kernel
        self.asker = asker
        asked = [parameter for parameter in kernel.parameters if not parameter.is_fixed]
        fields = {parameter.name: parameter.form_field(asker) for parameter in asked}
        self.fields = {"name": self.fields["name"], **fields, "seed": self.fields["seed"]}
        for parameter in kernel.parameters:
            if parameter.name not in self.initial and parameter.shown_default is not None:
                self.initial[parameter.name] = parameter.shown_default

    def clean(self) -> dict[str, Any]:
        super().clean()
        fields = self.cleaned_data
        body = {name: value for name, value in fields.items() if value not in (None, "")}
        if not self.errors:
            self.validate_body(body | {"kernel": self.kernel.name})
        return fields

    def validate_body(self, body: dict[str, Any]) -> None:
        try:
            self.calculation: Calculation = calculation_from(body, self.asker)
        except ValidationError as error:
            for name, messages in cast(dict[str, Any], error.detail).items():
                for message in messages if isinstance(messages, list) else [messages]:
                    self.add_error(name if name in self.fields else None, str(message))
