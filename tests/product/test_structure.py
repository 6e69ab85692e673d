"""The shape of the code: analytics → devices → users, and `config` puts them together."""

import ast
from pathlib import Path

import pytest
from django.conf import settings

ROOT: Path = settings.BASE_DIR
MAY_IMPORT = {
    "users": set(),
    "devices": {"users"},
    "analytics": {"users", "devices"},
    "config": {"users", "devices", "analytics"},
}
FOLDERS = {*MAY_IMPORT, "deploy", "docs", "locust", "templates", "tests"}
FILES = {
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"),
    *("Dockerfile", "Makefile", "docker-compose.yml", "manage.py"),
    *("pyproject.toml", "requirements-dev.lock", "requirements.lock"),
}
MADE_BY_TOOLS = {"staticfiles", "__pycache__"}
VAGUE = {"utils.py", "helpers.py", "services.py", "managers.py"}
MODULES = [
    path
    for package in MAY_IMPORT
    for path in (ROOT / package).rglob("*.py")
    if "migrations" not in path.parts
]


def imported(tree: ast.AST) -> set[str]:
    """Top level names of what is imported."""
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    whence = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in plain | whence}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package):
    others = set(MAY_IMPORT) | {"tests"}
    for path in (ROOT / package).rglob("*.py"):
        wrong = imported(ast.parse(path.read_text())) & others - MAY_IMPORT[package] - {package}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_imports_stand_at_the_top():
    late = [
        f"{path}:{node.lineno}"
        for path in MODULES
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not late


def test_modules_are_named_for_their_job():
    assert not [path for path in MODULES if path.name in VAGUE]


def test_the_locust_folder_does_not_shadow_the_package_locust():
    assert not (ROOT / "locust" / "__init__.py").exists()


def test_the_top_level_holds_only_what_was_agreed():
    visible = [path for path in ROOT.iterdir() if not path.name.startswith(".")]
    assert {path.name for path in visible if path.is_dir()} - MADE_BY_TOOLS <= FOLDERS
    assert {path.name for path in visible if path.is_file()} <= FILES
