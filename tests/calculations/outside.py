"""Kernels from outside for the tests: installed packages, without an installer, and files."""

import re
import shutil
import tomllib
from pathlib import Path

from django.conf import settings

EXAMPLE = Path(__file__).parent / "example_package"


def install(folder: Path, name: str, version: str, **kernels: str) -> None:
    """Write the metadata that an installer would: a distribution with these entry points."""
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{kernel} = {value}\n" for kernel, value in kernels.items()]
    (metadata / "entry_points.txt").write_text("[plumbline.kernels]\n" + "".join(lines))


def install_example(folder: Path) -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install(folder, project["name"], project["version"], **project["entry-points"]["plumbline.kernels"])
    shutil.copy(EXAMPLE / "plumbline_example.py", folder)


def documented_kernel_file() -> str:
    """The kernel.py that docs/calculations.md writes."""
    text = (settings.BASE_DIR / "docs" / "calculations.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    [source] = [block for block in blocks if "pandas" in block]
    return source
