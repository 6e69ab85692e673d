"""A kernel from outside that cannot be used refuses the start, by the name of its package or setting."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as product
from django.core.exceptions import ImproperlyConfigured

from analytics.kernels import BUILT_IN, outside
from tests.calculations.outside import install, install_example

FUNCTION = "def calculate(date_start, date_fin, lag): ...\n"
WELL = "from analytics.kernels.well import KERNEL\n"
LACKING = (
    f"{WELL}from dataclasses import replace\nKERNEL = replace(KERNEL, name='mine', libraries=['absent'])"
)


def table() -> dict[str, Any]:
    return outside.kernel_table(BUILT_IN)


def refusal() -> str:
    with pytest.raises(ImproperlyConfigured) as error:
        table()
    return str(error.value)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where packages are installed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_example_package_brings_two_kernels(site):
    install_example(site)
    kernels = table()
    assert list(kernels) == ["well", "forecast", "decline", "rainfall"]
    assert (kernels["decline"].version, kernels["rainfall"].version) == ("3", "1.2.0")
    assert kernels["rainfall"].libraries == ("plumbline-example", "numpy")
    assert kernels["rainfall"].description == "Invented rain of some days, in millimetres."


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("", "absent:KERNEL", "ModuleNotFoundError: No module named 'absent'"),
        ("", "{module}:KERNEL", "AttributeError: module '{module}' has no attribute 'KERNEL'"),
        ("import absent", "{module}:KERNEL", "ModuleNotFoundError: No module named 'absent'"),
        ("1 / 0", "{module}:KERNEL", "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit()", "{module}:KERNEL", "SystemExit"),
        ("def run(:", "{module}:run", "SyntaxError"),
        ("KERNEL = 5", "{module}:KERNEL", "it is of the type int, neither a Kernel nor a function"),
        ("class KERNEL: ...", "{module}:KERNEL", "it is of the type type, neither a Kernel nor a function"),
        ("def run(pressure): ...", "{module}:run", "the argument pressure needs an annotation"),
        (WELL, "{module}:KERNEL", "it declares the name 'well', not 'mine'"),
        (LACKING, "{module}:KERNEL", "No package metadata was found for absent"),
    ],
)
def test_a_broken_package_is_named(site, request, source, target, reason):
    module = f"broken_{abs(hash(request.node.name))}"
    (site / f"{module}.py").write_text(source)
    target, reason = target.format(module=module), reason.format(module=module)
    install(site, "some-package", "1", mine=target)
    said = refusal()
    assert f"The kernel of the package some-package (entry point mine = {target}) can't be used: " in said
    assert reason in said


def test_a_name_is_taken_once(site):
    (site / "clashing.py").write_text(FUNCTION)
    install(site, "first-package", "1", well="clashing:calculate")
    assert refusal() == (
        "Two kernels are called 'well': of the portal itself,"
        " and of the package first-package (entry point well = clashing:calculate)."
    )


@pytest.mark.parametrize(
    ("source", "entry", "reason"),
    [
        (FUNCTION, ("", "absent.py", ""), "FileNotFoundError"),
        (FUNCTION, ("", "kernel.py", "absent"), "has no attribute 'absent'"),
        ("", ("", "kernel.py", ""), "it has 0 public functions (): name one after a colon"),
        (
            f"{FUNCTION}def _own(): ...\ndef b(): ...\n",
            ("", "kernel.py", ""),
            "2 public functions (calculate, b)",
        ),
        (FUNCTION, ("", "absent.module", ""), "No module named 'absent'"),
        (FUNCTION, ("", "math", "floor"), "it is of the type builtin_function"),
        ("def Calculate(): ...", ("", "kernel.py", ""), "the name 'Calculate' is not of the form"),
    ],
)
def test_a_broken_setting_is_named(tmp_path, settings, source, entry, reason):
    (tmp_path / "kernel.py").write_text(source)
    name, path, attribute = entry
    path = str(tmp_path / path) if path.endswith(".py") else path
    settings.KERNELS = [(name, path, attribute)]
    said = refusal()
    assert said.startswith(f"The kernel of the setting KERNELS ({path}")
    assert reason in said


def test_functions_of_two_files_of_one_name(tmp_path, settings):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "kernel.py").write_text(f"import random\n{FUNCTION}# {folder}\n")
    paths = [str(tmp_path / folder / "kernel.py") for folder in ("a", "b")]
    settings.KERNELS = [("", path, "") for path in paths]
    assert refusal().startswith("Two kernels are called 'calculate': of the setting KERNELS")
    settings.KERNELS = [("", paths[0], ""), ("other", paths[1], "calculate")]
    kernels = table()
    assert list(kernels) == ["well", "forecast", "calculate", "other"]
    assert kernels["calculate"].version != kernels["other"].version


def started(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a management command in demo mode with these variables; it must end by itself."""
    argv = [sys.executable, str(product.BASE_DIR / "manage.py"), *command]
    # PATH lets Python find itself.
    env = {"PLUMBLINE_DEMO": "1", "PATH": os.environ["PATH"]} | env
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("command", ["check", "web", "worker", "beat", "demo"])
def test_every_command_refuses_to_start(tmp_path, command):
    install(tmp_path, "some-package", "1", mine="absent:KERNEL")
    done = started(command, PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "django.core.exceptions.ImproperlyConfigured: The kernel of the package some-package"
    )


def test_a_setting_of_another_form_is_refused(tmp_path):
    for value in ("kernel.txt", "a b", "/kernel.py:a:b", "=kernel.py", "x=", "/path/with,comma/kernel.py"):
        last = started("check", KERNELS=value).stderr.splitlines()[-1]
        assert last.startswith("django.core.exceptions.ImproperlyConfigured: "), value
        assert "KERNELS" in last
