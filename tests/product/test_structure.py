"""Sizes and names in the code. `make lint` checks the directions of imports (pyproject.toml)."""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path

from django.conf import settings

ROOT: Path = settings.BASE_DIR
PACKAGES = ("analytics", "config", "devices", "users")
FOLDERS = {*PACKAGES, "deploy", "docs", "locust", "templates", "tests"}
FILES = {
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"),
    "INSTALL.md",  # in an archive, made from docs/install.md
    *("Dockerfile", "Makefile", "docker-compose.yml", "manage.py"),
    *("pyproject.toml", "requirements-dev.lock", "requirements.lock"),
}
MADE_BY_TOOLS = {"__pycache__", "dist", "staticfiles"}
VAGUE = {"utils.py", "helpers.py", "services.py", "managers.py"}

MAX_MODULES = 15
MAX_MODULE_LINES = 350
MAX_FUNCTION_LINES = 40
MAX_IGNORES = 5
COMMON_CLASS_NAMES = {
    "Command",  # Django looks for this name
}
# How scripts ask the server, and how they say that no person does: config/middleware/idle_sessions.py.
ASKS, BY_TIMER = (
    re.compile(r"\bfetch\(|pageParts\.(load|poll)"),
    re.compile(r"Plumbline-Poll|BY_TIMER|pageParts\.poll"),
)
# A code for the checker, and a reason for the reader.
IGNORE = re.compile(r"# type: ignore\[[a-z-]+(?:, [a-z-]+)*\]  # \w.*")

MIXED_EPOCHS = """
from datetime import UTC, datetime

from devices.timeline.instants import from_pg_microseconds, pg_microseconds, unix_microseconds
from devices.timeline.spans import Span

now = datetime.now(UTC)
right = Span(1, pg_microseconds(now), pg_microseconds(now))
wrong = Span(1, unix_microseconds(now), pg_microseconds(now))
from_pg_microseconds(unix_microseconds(now))
from_pg_microseconds(946_684_800_000_000)
"""

MODULES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "migrations" not in path.parts
}
TREES = {name: ast.parse(text) for name, text in MODULES.items()}


def test_modules_are_named_for_their_job():
    assert not [name for name in MODULES if Path(name).name in VAGUE]


def test_no_folder_is_crowded():
    modules = Counter(Path(name).parent for name in MODULES if Path(name).name != "__init__.py")
    assert not {folder for folder, count in modules.items() if count > MAX_MODULES}


def test_no_module_is_long():
    assert not [name for name, text in MODULES.items() if text.count("\n") > MAX_MODULE_LINES]


def test_no_function_is_long():
    assert not [
        f"{name}:{node.lineno}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
    ]


def test_no_two_classes_share_a_name():
    names = Counter(
        node.name for tree in TREES.values() for node in tree.body if isinstance(node, ast.ClassDef)
    )
    assert {name for name, count in names.items() if count > 1} == COMMON_CLASS_NAMES


def test_ignored_type_errors_are_few_and_explained():
    ignores = [
        (f"{name}:{token.start[0]}", token.string)
        for name, text in MODULES.items()
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and "type: ignore" in token.string
    ]
    assert not [place for place, comment in ignores if not IGNORE.fullmatch(comment)]
    assert len(ignores) <= MAX_IGNORES


def test_type_checker_finds_mixed_epochs(tmp_path: Path):
    mixed = tmp_path / "mixed.py"
    mixed.write_text(MIXED_EPOCHS)
    # Without the configuration, whose plugins start Django: this needs none of it.
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file=",
        f"--cache-dir={tmp_path}",
        "--no-pretty",
        mixed,
    ]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    wrong = re.findall(r'mixed\.py:(\d+): error: .* type "(\w+)"; expected "PgMicroseconds"', checked.stdout)
    assert wrong == [("9", "UnixMicroseconds"), ("10", "UnixMicroseconds"), ("11", "int")], checked


def test_the_locust_folder_does_not_shadow_the_package_locust():
    assert not (ROOT / "locust" / "__init__.py").exists()


def test_the_top_level_holds_only_what_was_agreed():
    visible = [path for path in ROOT.iterdir() if not path.name.startswith(".")]
    assert {path.name for path in visible if path.is_dir()} - MADE_BY_TOOLS <= FOLDERS
    assert {path.name for path in visible if path.is_file()} <= FILES


def test_make_says_that_packages_are_installed_before_the_long_wait():
    """`--always-make` of a dry run: as in a fresh checkout."""
    command = ["make", "--dry-run", "--always-make", "demo"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    [told] = [number for number, line in enumerate(lines) if "Installing the packages, once" in line]
    assert "pip install" in lines[told + 1]


def test_texts_of_pages_have_curly_apostrophes():
    comments = re.compile(r"{#.*?#}|{% comment.*?endcomment %}|{[{%].*?[%}]}", re.DOTALL)
    straight = {
        str(path.relative_to(ROOT)): found
        for path in (ROOT / "templates").rglob("*.html")
        if (found := re.findall(r"\w+'\w+", comments.sub("", path.read_text(encoding="utf-8"))))
    }
    assert not straight


def test_what_scripts_ask_by_timers_does_not_keep_the_session():
    scripts = (
        path for path in (ROOT / "config/static/plumbline").rglob("*.js") if "vendor" not in path.parts
    )
    texts = {path.name: path.read_text() for path in scripts}
    timed = {
        name
        for name, text in texts.items()
        if re.search(r"set(Timeout|Interval)\(", text) and ASKS.search(text)
    }
    assert len(timed) > 5
    # A timer that a person's typing starts.
    by_typing = {"owner_search.js"}
    assert {name for name in timed if not BY_TIMER.search(texts[name])} == by_typing
