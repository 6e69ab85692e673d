"""README and docs: their commands are run, their links, paths and names are compared with the product."""

import re
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands

from config.environment import assignments
from tests.support.demo import demo
from tests.support.portal import free_port

ROOT: Path = settings.BASE_DIR
README = ROOT / "README.md"
ARCHITECTURE = ROOT / "docs/architecture.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
# In the order in which a reader runs them: one shell, and later pages use the variables of earlier ones.
PAGES_WITH_COMMANDS = [README, *(ROOT / f"docs/{name}.md" for name in ("tour", "calculations", "activity"))]
APPS = ("users", "devices", "analytics", "config")
# A map names what people edit.
NOT_IN_MAP = {"migrations"}
HOSTS_OF_EXAMPLES = re.compile(r"127\.0\.0\.1|localhost|host|clickhouse|postgres|redis|(\w+\.)*example\.com")


def texts() -> dict[str, str]:
    return {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}


# --- The commands, run


def commands() -> str:
    """The `sh` blocks of these pages, each announced by a line of output."""
    text = "\n".join(page.read_text() for page in PAGES_WITH_COMMANDS)
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return "".join(f"echo; echo BLOCK {i}\n{block}" for i, block in enumerate(blocks))


def test_every_sh_block_is_on_a_page_that_is_run():
    with_blocks = {page for page in PAGES if "\n```sh\n" in page.read_text()}
    assert with_blocks == set(PAGES_WITH_COMMANDS)


def test_the_commands_of_the_docs_as_written(open_folder: Path):
    with demo(open_folder / "data", free_port()) as running:
        script = "set -eu\n" + commands().replace("http://127.0.0.1:8080", running.url)
        shell = ["bash", "-c", script]
        done = subprocess.run(shell, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    short, _setup, _register, *shown = done.stdout.split("BLOCK ")[1:]
    assert short.count('{"status":"ok"}') == 2
    assert '"x":{"count":2,"min":1.5,"max":2.5,"sum":4.0,"avg":2.0,"median":2.0}' in short
    post, analyse, days, exclusion, series, fleet, many, bad, calculate, activity = shown
    assert post.count('{"status":"ok"}') == 3
    assert '"x":2.5' in post
    assert '"x":{"count":3,"min":1.5,"max":8.0,"sum":12.0,"avg":4.0,"median":2.5}' in analyse
    assert '"start":"2026-11-01T11:00:00Z"' in analyse
    assert '"percent":100.0,"gaps":0,"longest_gap":null}' in analyse
    # Results are sent as they are stored, with spaces.
    days, fleet = (text.replace('": ', '":').replace(', "', ',"') for text in (days, fleet))
    assert '"percentiles":{"5":' in days
    assert '"start":"2026-10-31T23:00:00Z","end":"2026-11-01T23:00:00Z","seconds":86400.0' in days
    assert exclusion.count('"reason":"Sensor was being cleaned"') == 2
    assert '"count":[1,' in series
    assert '"aggregate":{"x":{"count":3,"min":1.5,"max":8.0,"sum":12.0,"avg":4.0,"median":2.5}' in fleet
    assert '{"accepted":2,"rejected":[]}' in many
    assert '{"last_measurement":"2026-11-02T08:00:00Z","count":1,"avg":61.5}' in many
    assert '"field":"x","message":"Must be a finite number."' in bad
    assert '"field":"y","message":"Must be a number."' in bad
    assert '"field":"z","message":"Is missing."' in bad
    assert '{"accepted":1,"rejected":[{"index":1,"message":"login: There is no such user."}]}' in activity
    assert '"post_header":"Frost","post_author_login":"ada","total_comments":1' in activity
    assert "2019-05-01,0,0,0" in activity
    assert '"name":"Well 7"' in calculate
    assert '"seed":42' in calculate
    assert "date,liquid,oil,water,wct\n2026-01-01," in calculate
    assert "the same table" in calculate


# --- The map of folders


def rows_of_map() -> list[tuple[list[str], str]]:
    """Folders of a row, and what it says about them."""
    section = ARCHITECTURE.read_text().split("## Map of the code\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \| (.+) \|$", section, re.MULTILINE)
    return [(re.findall("`([^`]+)`", folders), about) for folders, about in rows]


def folders_with_modules() -> set[str]:
    """Folders of the apps that hold a module other than `__init__.py`."""
    modules = (path for app in APPS for path in (ROOT / app).rglob("*.py") if path.name != "__init__.py")
    folders = {path.parent.relative_to(ROOT) for path in modules}
    return {f"{folder}/" for folder in folders if not NOT_IN_MAP & set(folder.parts)}


def test_the_map_names_every_folder_with_modules():
    named = {folder for folders, _ in rows_of_map() for folder in folders}
    assert folders_with_modules() - named == set()


def test_the_map_names_only_what_is_there():
    named = [folder for folders, _ in rows_of_map() for folder in folders]
    assert len(named) == len(set(named))
    assert [folder for folder in named if not (ROOT / folder).is_dir()] == []


def test_the_modules_and_commands_of_the_map_are_in_their_folder():
    missing = []
    for (folder, *_), about in rows_of_map():
        modules = re.findall(r"`(\w+\.py)`", about)
        if folder.endswith("/commands/"):
            modules = [f"{name}.py" for name in re.findall(r"`(\w+)`", about)]
        missing += [f"{folder}{name}" for name in modules if not (ROOT / folder / name).is_file()]
    assert missing == []


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= 130


# --- Links, paths, commands, settings, hosts


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_what_is_there(page):
    assert broken_links(page) == []


def test_paths_named_in_the_docs_exist():
    named = {
        (name, path)
        for name, text in texts().items()
        for path in re.findall(rf"(?<![\w/])(?:{'|'.join(APPS)})/[\w/]+(?:\.py|/)(?!\w)", text)
    }
    assert [found for found in sorted(named) if not (ROOT / found[1]).exists()] == []


def test_commands_named_in_the_docs_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name, text in texts().items():
        code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))
        assert set(re.findall(r"\bmake ([a-z]+)", code)) <= targets, name
        assert set(re.findall(r"manage\.py (\w+)", code)) <= get_commands().keys(), name


def test_the_example_environment_changes_nothing_and_names_what_compose_reads():
    example = (ROOT / ".env.example").read_text()
    assert assignments(example) == {}
    named = set(re.findall(r"^#(\w+)=", example, re.MULTILINE))
    compose = (ROOT / "docker-compose.yml").read_text()
    assert set(re.findall(r"\$\{(\w+)", compose)) - named == set()
    known = compose + (ROOT / "docs" / "operations.md").read_text()
    assert [name for name in named if not re.search(rf"\b{name}\b", known)] == []


def test_the_docs_name_no_outside_host():
    for name, text in texts().items():
        hosts = re.findall(r"\w+://(?:[^/\s@`]*@)?([\w.-]+)", text)
        hosts += re.findall(r"\b(?:[a-z0-9-]+\.)+(?:com|dev|io|net|org)\b", text)
        assert [host for host in hosts if not HOSTS_OF_EXAMPLES.fullmatch(host)] == [], name
