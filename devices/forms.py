from pathlib import Path
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError

from devices import importer
from devices.importer import CannotImport, Job
from devices.models import Device
from users.models import User


class ImportForm(forms.Form):
    """A file of readings, uploaded to a temporary file."""

    file = forms.FileField()
    format = forms.ChoiceField(
        choices=[("", "By the file’s ending"), ("csv", "CSV"), ("ndjson", "NDJSON")], required=False
    )
    device = forms.UUIDField(label="Id of the device", required=False)
    owner = forms.CharField(label="Login of the sensors’ owner", required=False)
    dry_run = forms.BooleanField(required=False)
    partial = forms.BooleanField(required=False)

    def clean_device(self) -> Device | None:
        uuid: UUID | None = self.cleaned_data["device"]
        try:
            return importer.find_device(uuid) if uuid else None
        except CannotImport as error:
            raise ValidationError(str(error)) from error

    def clean_owner(self) -> User | None:
        login = self.cleaned_data["owner"]
        try:
            return importer.find_owner(login) if login else None
        except CannotImport as error:
            raise ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        fields = super().clean()
        if fields.get("device") and fields.get("owner"):
            raise ValidationError("Name the device or the owner, not both.")
        return fields

    @property
    def job(self) -> Job:
        """Raises CannotImport if the file's ending does not tell its format."""
        fields = self.cleaned_data
        file = fields["file"]
        format_name = fields["format"] or importer.guess_format(file.name)
        path = Path(file.temporary_file_path())
        return Job(path, file.name, format_name, fields["device"], fields["owner"])
