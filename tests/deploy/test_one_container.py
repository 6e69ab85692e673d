"""`docker run --rm -it -p 8080:8080 exercise:latest`, as far as that goes without a container engine."""

import json
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from config.installation.drawing import FOR_PORTAL, FOR_STORES
from tests.deploy.containers import SERVICES, in_image
from tests.deploy.mini_container import ADDRESS, SECRET_FOLDERS, UID, Container, Image, why_not
from tests.support.portal import eventually
from tests.support.servers import make_open_folder

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(bool(why_not()), reason=f"no container on this machine: {why_not()}"),
]
PORT = in_image("EXPOSE")


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with make_open_folder() as folder:
        yield Image.build(folder)


@pytest.fixture(scope="module")
def container(image: Image) -> Iterator[Container]:
    with image.started() as running:
        yield running


def ask(container: Container, path: str, *options: str, host: str = "localhost") -> str:
    """Call the portal as a browser on the host does, which reaches it through the published port."""
    command = ["nsenter", f"--target={container.first.pid}", "--net", "curl", "-sS", "--noproxy", "*"]
    url = [f"http://{ADDRESS}:{PORT}{path}", "-H", f"Host: {host}:{PORT}"]
    return subprocess.run([*command, *url, *options], capture_output=True, text=True, check=True).stdout


def test_it_is_open_to_this_computer_and_says_so(container: Container) -> None:
    assert "DEMO MODE" in container.log.read_text()
    assert f"http://localhost:{PORT}/" in container.log.read_text()
    for host in ("localhost", "127.0.0.1"):
        assert json.loads(ask(container, "/devices/?limit=1", host=host))
    assert json.loads(ask(container, "/devices/", host="foreign.example.com"))["status"] == 400


def test_it_answers_private_networks_alone(container: Container) -> None:
    """A client with a public address, as on a host of the internet."""
    public = "203.0.113.9"
    into = ["nsenter", f"--target={container.first.pid}", "--net"]
    subprocess.run([*into, "ip", "address", "add", f"{public}/32", "dev", "lo"], check=True)
    refused = json.loads(ask(container, "/devices/", "--interface", public))
    assert refused["status"] == 403
    assert "DEMO_NETWORKS" in refused["detail"]
    assert f"DEMO MODE: {public}, beyond this computer, was refused" in container.log.read_text()
    # The other one is of a private network: it is let in, and every page says so.
    page = ask(container, "/portal/devices/", "-H", "Accept: text/html")
    assert f"first from {ADDRESS}" in page
    assert f"DEMO MODE: {ADDRESS}, beyond this computer, has full access" in container.log.read_text()


def test_it_takes_a_reading_and_gives_its_figures(container: Container) -> None:
    def post(path: str, body: object) -> dict:
        options = ("-H", "Content-Type: application/json", "-d", json.dumps(body))
        return json.loads(ask(container, path, *options))

    user = post("/users/", {"name": "Mary Ward", "email": "mary.ward@example.com"})
    device = post("/devices/", {"user_id": user["id"]})
    assert post(f"/devices/{device['id']}/stats/", {"x": 1.5, "y": 2, "z": 3}) == {"status": "ok"}
    task = json.loads(ask(container, f"/devices/{device['id']}/analytics/"))["task_id"]

    def is_done() -> bool:
        return json.loads(ask(container, f"/tasks/{task}"))["status"] == "SUCCESS"

    eventually(is_done)
    assert json.loads(ask(container, f"/tasks/{task}"))["result"]["x"]["median"] == 1.5


def test_it_is_process_1_and_everything_runs_as_the_images_user(container: Container) -> None:
    processes = [container.first, *container.first.children(recursive=True)]
    assert {process.uids().real for process in processes} == {UID}
    assert {process.uids().effective for process in processes} == {UID}
    inside = container.execute("cat", "/proc/1/cmdline").stdout.split("\0")
    assert inside[:3] == [*json.loads(in_image("ENTRYPOINT")), *json.loads(in_image("CMD"))]


def test_it_can_write_to_its_volume_and_not_to_its_program(container: Container) -> None:
    for place in ("/app", "/app/config", "/venv", "/usr", "/"):
        refused = container.execute("touch", f"{place}/new")
        assert "Read-only file system" in refused.stderr, place
    assert container.execute("touch", f"{in_image('VOLUME')}/new").returncode == 0


def test_process_1_reaps_orphans(container: Container) -> None:
    """Without that, each would stay in the table of processes for ever."""
    assert container.execute("sh", "-c", "sleep 0.3 & echo $!").stdout.strip().isdecimal()
    eventually(lambda: "sleep" not in {child.name() for child in container.first.children()})
    left = container.first.children()
    assert [child for child in left if child.status() == psutil.STATUS_ZOMBIE] == []


def test_it_draws_secrets_into_a_volume_that_the_portal_reads(image: Image) -> None:
    """The container as docker-compose.yml has it: the same image and user, on a read-only root."""
    service = SERVICES["secrets"]
    drawing = image.run(*service["command"], **service["environment"])
    assert drawing.returncode == 0, drawing.stderr
    files = [path for name in SECRET_FOLDERS for path in (image.files / name).iterdir()]
    drawn = {path.name: path.stat() for path in files}
    assert {*FOR_PORTAL, *FOR_STORES} <= drawn.keys()
    assert {status.st_uid for status in drawn.values()} == {UID}
    checked = image.run("check", **SERVICES["web"]["environment"])
    assert checked.returncode == 0, checked.stderr
    [secret, *_] = FOR_PORTAL
    (image.files / "secrets" / secret).unlink()
    assert f"Set {secret} in the environment" in image.run("check", **SERVICES["web"]["environment"]).stderr


# The last test: it ends the container that the others share.
def test_docker_stop_and_ctrl_c_stop_it_in_order(image: Image, container: Container) -> None:
    postgres = image.files / "data/postgres"
    assert list(postgres.rglob("postmaster.pid"))
    stop(container, in_image("STOPSIGNAL"))
    assert list(postgres.rglob("postmaster.pid")) == []
    with image.started() as again:
        stop(again, "SIGINT")
    assert list(postgres.rglob("postmaster.pid")) == []


def stop(running: Container, how: str) -> None:
    assert running.stop(signal.Signals[how]) == 0
    assert running.log.read_text().endswith("Stopped.\n")
