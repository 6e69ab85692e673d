import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from config import supervisor as supervision
from config.processes import Command
from config.supervisor import Child, GaveUp, Stopped, Supervisor

pytestmark = pytest.mark.e2e


def shell(name: str, script: str, **options: object) -> Command:
    return Command(name, ["/bin/sh", "-c", script], {}, **options)


def test_child_that_keeps_dying_is_given_up_with_its_last_log_lines(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.add(shell("broken", "echo no disk >&2; exit 3"))
        with pytest.raises(GaveUp, match=r"broken ended 5 times .* ended with code 3\.(.|\n)*no disk"):
            supervisor.run()


def test_child_that_dies_rarely_is_restarted(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    script = f'echo >> {starts}; test "$(wc -l < {starts})" -ge 3 && exec sleep 60'
    with Supervisor(tmp_path) as supervisor:
        supervisor.add(shell("shaky", script))
        supervisor.wait_until(
            lambda: starts.exists() and len(starts.read_text()) == 3, seconds=60, name="shaky"
        )


def test_child_that_is_not_ready_in_time_is_named_with_its_last_log_lines(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.add(shell("slow", "echo warming up; exec sleep 60"))
        with pytest.raises(GaveUp, match=r"slow is not ready after 0\.5 s\.(.|\n)*warming up"):
            supervisor.wait_until(lambda: False, seconds=0.5, name="slow")


def test_failed_command_is_named_with_its_last_log_lines(tmp_path: Path) -> None:
    story = r"once ended with code 7\.(.|\n)*no luck"
    with Supervisor(tmp_path) as supervisor, pytest.raises(GaveUp, match=story):
        supervisor.run_once(shell("once", "echo no luck; exit 7"))


def test_stop_signals_all_together_servers_last_and_kills_the_stubborn(tmp_path: Path) -> None:
    """`a` and `b` end only after both were signalled; the server is signalled after both have ended."""
    both = f"while ! test -e {tmp_path}/a.told -a -e {tmp_path}/b.told; do sleep 0.05; done"
    after = f"cp {tmp_path}/order {tmp_path}/before; echo server >> {tmp_path}/order"

    def telling(name: str, then: str, **options: object) -> Command:
        ready = tmp_path / f"{name}.ready"
        script = f"trap '{then}' TERM; touch {ready}; while :; do sleep 0.05; done"
        return shell(name, script, **options)

    def waiting(name: str) -> Command:
        return telling(name, f"touch {tmp_path}/{name}.told; {both}; echo {name} >> {tmp_path}/order; exit")

    commands = (
        telling("server", f"{after}; exit", serves_others=True),
        waiting("a"),
        telling("stubborn", ":", grace_seconds=0.5),
        waiting("b"),
    )
    with Supervisor(tmp_path) as supervisor:
        for command in commands:
            supervisor.add(command)
            ready = tmp_path / f"{command.name}.ready"
            supervisor.wait_until(ready.exists, seconds=60, name=command.name)
    assert sorted((tmp_path / "before").read_text().split()) == ["a", "b"]
    assert (tmp_path / "order").read_text().split()[-1] == "server"
    codes = [child.process.returncode for child in supervisor.children]
    assert codes == [0, 0, -signal.SIGKILL, 0]


def test_end_of_the_parent_stops_the_supervisor(tmp_path: Path) -> None:
    with Supervisor(tmp_path, parent=os.getppid()) as supervisor:
        supervisor.tend()
    with Supervisor(tmp_path, parent=os.getpid()) as supervisor, pytest.raises(Stopped):
        supervisor.tend()


def test_start_waits_for_descendants_of_a_killed_child(tmp_path: Path, left_behind) -> None:
    """Otherwise two servers would write to the same files."""
    started = tmp_path / "started"
    script = f"sleep 60 & echo $! > {started}.new; mv {started}.new {started}; wait"
    with Supervisor(tmp_path) as supervisor:
        supervisor.add(shell("server", script, lock=tmp_path / "lock"))
        supervisor.wait_until(started.exists, seconds=60, name="server")
        child = supervisor.children[0]
        child.process.kill()
        child.process.wait()
        with pytest.raises(GaveUp):
            supervisor.wait_until(lambda: is_alive(child), seconds=1, name="server")
        os.kill(int(started.read_text()), signal.SIGKILL)
        supervisor.wait_until(lambda: is_alive(child), seconds=60, name="server")


def is_alive(child: Child) -> bool:
    return child.process is not None and child.process.poll() is None


def test_without_a_log_folder_children_print_to_our_output(capfd: pytest.CaptureFixture[str]) -> None:
    with Supervisor(None) as supervisor:
        supervisor.run_once(shell("once", "echo here; echo there >&2"))
        with pytest.raises(GaveUp, match=r"twice ended with code 7\."):
            supervisor.run_once(shell("twice", "exit 7"))
    assert capfd.readouterr() == ("here\n", "there\n")


def test_large_log_is_renamed_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "LOG_BYTES", 10)
    (tmp_path / "once.log").write_text("a long story\n")
    with Supervisor(tmp_path) as supervisor:
        supervisor.run_once(shell("once", "echo new"))
        supervisor.run_once(shell("once", "echo newer"))
    assert (tmp_path / "once.log.1").read_text() == "a long story\n"
    assert (tmp_path / "once.log").read_text() == "new\nnewer\n"


def test_child_ends_at_once_if_its_parent_has_ended() -> None:
    script = "from config.processes import die_with_parent as die; die(parent=1_000_000_000); print('alive')"
    argv = [sys.executable, "-c", script]
    child = subprocess.run(argv, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, check=False)
    assert (child.returncode, child.stdout) == (-signal.SIGKILL, b"")
