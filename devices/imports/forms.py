from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile

from devices.imports.cells.decimals import SIGNS
from devices.imports.cells.stamps import ORDERS, UNITS
from devices.imports.options import ENCODINGS, EXCEL, JSON, SEPARATORS, SKIP, STORE, TEXT, Options
from users.zones import known_zone

DECIMALS = {sign: f"{name.capitalize()}, 1{sign}5" for sign, name in SIGNS.items()}
REPEATS = {
    SKIP: "Once: leave out repeats",
    STORE: "Each row, repeats too",
}
# Fields that a kind of file has beside those of every kind.
FIELDS_OF_KIND = {TEXT: ("separator", "encoding"), EXCEL: ("sheet",), JSON: ()}


class UploadForm(forms.Form):
    file = forms.FileField(label="File")

    def clean_file(self) -> UploadedFile:
        file: UploadedFile = self.cleaned_data["file"]
        if (file.size or 0) > settings.IMPORT_MEBIBYTES * 1024 * 1024:
            raise ValidationError(f"A file may have {settings.IMPORT_MEBIBYTES} MiB.")
        return file


class OptionsForm(forms.Form):
    """How the file is read. Each column has its menu of roles, `role_0` and so on."""

    separator = forms.ChoiceField(choices=SEPARATORS, label="Cells are separated by")
    encoding = forms.ChoiceField(choices=ENCODINGS, label="Text is")
    header_row = forms.IntegerField(min_value=0, max_value=1000, label="Row with the headings, 0 for none")
    decimal = forms.ChoiceField(choices=DECIMALS, label="Decimal sign")
    is_grouped = forms.BooleanField(required=False, label="Thousands are separated: 1.234 or 1,234 is 1234")
    order = forms.ChoiceField(choices=ORDERS, label="Dates are")
    unit = forms.ChoiceField(choices=UNITS, label="A time that is a number counts")
    zone = forms.CharField(
        required=False, validators=[known_zone], label="Time zone, if the stamps name none"
    )
    repeats = forms.ChoiceField(choices=REPEATS, label="Equal readings are stored")
    search = forms.CharField(required=False, max_length=200, label="Device")
    device = forms.UUIDField(required=False)

    def __init__(
        self, data: Any, *, options: Options, sheets: list[str], roles: list[tuple[str, str]]
    ) -> None:
        super().__init__(data, initial=options.as_json())
        self.options = options
        self.fields["sheet"] = forms.ChoiceField(choices=[(name, name) for name in sheets], label="Sheet")
        for name in {"separator", "encoding", "sheet"} - set(FIELDS_OF_KIND[options.kind]):
            del self.fields[name]
        if options.kind == JSON:
            del self.fields["header_row"]
        for number, role in enumerate(options.roles):
            self.fields[f"role_{number}"] = forms.ChoiceField(
                choices=roles, initial=role, required=False, label=f"Column {number + 1} is"
            )

    def clean(self) -> dict[str, Any]:
        super().clean()
        given = [role for role in self.roles if role]
        if len(given) != len(set(given)):
            raise ValidationError("Two columns have the same meaning: choose one.")
        return self.cleaned_data

    @property
    def roles(self) -> list[str]:
        return [self.cleaned_data.get(f"role_{i}", "") for i in range(len(self.options.roles))]

    @property
    def chosen(self) -> Options:
        names = self.options.as_json().keys() & self.cleaned_data.keys()
        return self.options.changed(**{name: self.cleaned_data[name] for name in names}, roles=self.roles)

    @property
    def layout_fields(self) -> list[forms.BoundField]:
        names = (
            *FIELDS_OF_KIND[self.options.kind],
            "header_row",
            "decimal",
            "order",
            "unit",
            "zone",
            "repeats",
        )
        return [self[name] for name in names if name in self.fields]

    @property
    def role_fields(self) -> list[forms.BoundField]:
        return [self[f"role_{i}"] for i in range(len(self.options.roles))]
