"""pyproject.toml holds the version; everything else that names it agrees."""

import re
import tomllib
from pathlib import Path

from django.conf import settings

ROOT: Path = settings.BASE_DIR
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_openapi_document_has_the_version(client) -> None:
    assert client.get("/schema/").json()["info"]["version"] == VERSION


def test_newest_release_of_the_changelog_is_the_version() -> None:
    releases = re.findall(r"^## v?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[:1] == [VERSION]


def test_dockerfile_names_the_image_by_the_version() -> None:
    assert set(re.findall(r"plumbline(?:-demo)?:(\S+)", (ROOT / "Dockerfile").read_text())) == {VERSION}
