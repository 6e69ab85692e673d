"""`make archive` packs the last commit, and the demo starts from where it is unpacked."""

import re
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest
from django.conf import settings

from tests.product.test_readme import broken_links
from tests.product.test_structure import FILES, FOLDERS
from tests.product.test_version import VERSION
from tests.product.tree import link_environment, made, running
from tests.support.portal import free_port

pytestmark = pytest.mark.e2e

ROOT: Path = settings.BASE_DIR
NAME = f"plumbline-{VERSION}"

needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a git checkout can be packed")


def archive(folder: Path) -> Path:
    """Pack the last commit; nothing but the archive is left in the folder."""
    path = folder / f"{NAME}.tar.gz"
    assert made(ROOT, "archive", f"DIST={folder}", log=folder / "log") == (0, f"{path}\n")
    assert {file.name for file in folder.iterdir()} == {path.name, "log"}
    return path


@pytest.fixture
def unpacked(open_folder: Path, tmp_path: Path) -> Path:
    with tarfile.open(archive(tmp_path)) as tar:
        tar.extractall(open_folder, filter="data")
    return open_folder / NAME


@needs_git
def test_equal_commits_make_equal_archives(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    one, other = [archive(folder).read_bytes() for folder in folders]
    assert one == other


@needs_git
def test_it_has_every_file_of_the_commit_and_installing_on_top(unpacked: Path) -> None:
    listed = ["git", "ls-tree", "-r", "--name-only", "-z", "HEAD"]
    committed = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert found == {*committed.strip("\0").split("\0"), "INSTALL.md"}
    visible = {path.name for path in unpacked.iterdir() if not path.name.startswith(".")}
    assert visible <= FILES | FOLDERS
    install = (unpacked / "INSTALL.md").read_text()
    assert broken_links(unpacked / "INSTALL.md") == []
    assert len(re.findall(r"\]\(", install)) >= 6


@needs_git
def test_the_demo_starts_from_the_unpacked_archive(unpacked: Path, left_behind) -> None:
    link_environment(unpacked)
    port = free_port()
    with running(unpacked, port, "demo", f"PORT={port}") as demo:
        demo.says(f"Data: {unpacked}/.demo,")
        demo.answers("/portal/devices/", "Greenhouse north")
        demo.end(signal.SIGINT)
        assert left_behind() == []


@needs_git
def test_an_unpacked_archive_cannot_be_packed(unpacked: Path) -> None:
    code, output = made(unpacked, "archive", log=unpacked / "make.log")
    assert code != 0
    assert "needs a git checkout, and this folder is none" in output
    assert not (unpacked / "dist").exists()
