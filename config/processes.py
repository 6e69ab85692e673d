"""Child processes that never outlive their parent, and a small supervisor for them."""

import ctypes
import fcntl
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
# Looked up here, because after a fork little more than system calls is safe. Missing on macOS.
prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
if prctl is not None:
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4

POLL_SECONDS = 0.05
FIRST_PAUSE_SECONDS = 0.25
DEATHS_ALLOWED, DEATHS_WINDOW_SECONDS = 5, 30
LOG_BYTES = 5 * 1024 * 1024


class Stopped(Exception):
    """A stop was asked for: by a signal, or by the end of the process that we stop with."""


class GaveUp(Exception):
    """A process could not be started or kept alive; the message holds its last log lines."""


def die_with_parent(death_signal: int = signal.SIGKILL, *, parent: int | None = None) -> None:
    """Have the kernel send `death_signal` to this process when its parent ends, even by kill -9.

    To be called in the child, after any change of user (a change clears it). `parent` is the id of the
    parent expected: if that is gone already, this process ends at once. Does nothing without prctl (macOS).
    """
    if prctl is None:
        return
    if prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Command:
    """What to run and how to end it. What `serves_others` is stopped after all those that do not. `become`
    runs in the child before exec: a change of user.

    `lock` is a file that the child and all its descendants hold locked while any of them lives: a start waits
    for it, so that what a killed server left working is gone. The `stale` files are removed once it is held.
    """

    name: str
    argv: Sequence[str | Path]
    env: Mapping[str, str]
    folder: Path = Path("/")
    stop_signal: int = signal.SIGTERM
    death_signal: int = signal.SIGKILL
    grace_seconds: float = 5
    serves_others: bool = False
    become: Callable[[], None] | None = None
    lock: Path | None = None
    stale: Sequence[Path] = ()

    def start(self, log: Path | None) -> subprocess.Popen[bytes]:
        """What it prints is added to `log`, or goes where ours goes.

        Raises BlockingIOError while `lock` is held by descendants of an earlier start.
        """
        parent = os.getpid()

        def before_exec() -> None:
            if self.become is not None:
                self.become()
            die_with_parent(self.death_signal, parent=parent)

        with ExitStack() as stack:
            inherited = []
            if self.lock is not None:
                self.lock.touch(mode=0o600)
                inherited.append(stack.enter_context(self.lock.open("ab")).fileno())
                fcntl.flock(inherited[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in self.stale:
                path.unlink(missing_ok=True)
            return subprocess.Popen(  # noqa: S603  our own table of commands
                [str(part) for part in self.argv],
                env=dict(self.env),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stack.enter_context(log.open("ab")) if log else None,
                stderr=subprocess.STDOUT if log else None,
                pass_fds=inherited,
                # Ctrl-C reaches a whole process group: apart from it, the supervisor decides the order.
                start_new_session=True,
                preexec_fn=before_exec,  # noqa: PLW1509  the supervisor has no threads
            )


@dataclass
class Child:
    command: Command
    log: Path | None
    process: subprocess.Popen[bytes] | None = None
    due: float = 0
    deaths: list[float] = field(default_factory=list)


class Supervisor:
    """Starts commands, restarts those that end, and at the end stops all side by side, but servers last.

    Leaving the `with` block stops everything. `logs`: a folder with a file for each; without one they print
    where we do. `parent`: stop, too, when this is no longer our parent's id.
    Use it from one thread, the main one: a child gets its death signal when the thread that forked it ends.
    """

    def __init__(self, logs: Path | None, *, parent: int | None = None) -> None:
        self.logs = logs
        self.parent = parent
        self.children: list[Child] = []
        self.stop_asked = False

    def __enter__(self) -> Self:
        if self.logs is not None:
            self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for serves_others in (False, True):
            chosen = [child for child in self.children if child.command.serves_others == serves_others]
            end([(child.process, child.command) for child in chosen if child.process is not None])

    def catch_signals(self) -> None:
        def ask_stop(*_: object) -> None:
            self.stop_asked = True

        signal.signal(signal.SIGINT, ask_stop)
        signal.signal(signal.SIGTERM, ask_stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            signal.signal(signal.SIGHUP, ask_stop)

    def add(self, command: Command) -> None:
        self.children.append(Child(command, self.fresh_log(command.name)))
        self.tend()

    def run_once(self, command: Command) -> None:
        """Run a command to its end. Raises GaveUp if it fails."""
        log = self.fresh_log(command.name)
        process = command.start(log)
        try:
            while process.poll() is None:
                self.tend()
                time.sleep(POLL_SECONDS)
        finally:
            end([(process, command)])
        if process.returncode != 0:
            raise GaveUp(f"{command.name} {describe_exit(process.returncode)}.\n{last_lines(log)}")

    def wait_until(self, is_ready: Callable[[], bool], *, seconds: float, name: str) -> None:
        """Tend the children until `is_ready`. Raises GaveUp with the log of `name` after `seconds`."""
        deadline = time.monotonic() + seconds
        while not is_ready():
            if time.monotonic() > deadline:
                raise GaveUp(f"{name} is not ready after {seconds:g} s.\n{last_lines(self.log_path(name))}")
            self.tend()
            time.sleep(POLL_SECONDS)

    def run(self) -> None:
        """Tend the children until Stopped or GaveUp is raised."""
        while True:
            self.tend()
            time.sleep(POLL_SECONDS)

    def tend(self) -> None:
        if self.stop_asked or (self.parent is not None and os.getppid() != self.parent):
            raise Stopped
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self.bury(child, child.process.returncode)
            if child.process is None and time.monotonic() >= child.due:
                self.start(child)
        if os.getpid() == 1:
            self.reap_strangers()

    def start(self, child: Child) -> None:
        try:
            child.process = child.command.start(child.log)
        except BlockingIOError:
            child.due = time.monotonic() + FIRST_PAUSE_SECONDS

    def bury(self, child: Child, exit_code: int) -> None:
        now = time.monotonic()
        name, story = child.command.name, describe_exit(exit_code)
        child.process = None
        child.deaths = [death for death in child.deaths if now - death < DEATHS_WINDOW_SECONDS] + [now]
        if len(child.deaths) >= DEATHS_ALLOWED:
            count = f"{DEATHS_ALLOWED} times within {DEATHS_WINDOW_SECONDS} s"
            raise GaveUp(f"{name} ended {count}, the last time it {story}.\n{last_lines(child.log)}")
        logger.warning("%s %s, starting it again%s", name, story, f" (log: {child.log})" if child.log else "")
        child.due = now + FIRST_PAUSE_SECONDS * 2 ** (len(child.deaths) - 1)

    def reap_strangers(self) -> None:
        """As process 1 of a container we inherit what others leave behind."""
        ours = {child.process.pid for child in self.children if child.process is not None}
        while True:
            try:
                # Looked at first, not reaped: the exit code of our own child belongs to its Popen object.
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid in ours:
                return
            os.waitpid(ended.si_pid, 0)

    def log_path(self, name: str) -> Path | None:
        return self.logs / f"{name}.log" if self.logs else None

    def fresh_log(self, name: str) -> Path | None:
        """The log's path. A log grown large is set aside first, over the one set aside before."""
        log = self.log_path(name)
        if log and log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        return log


def end(children: Sequence[tuple[subprocess.Popen[bytes], Command]]) -> None:
    """Stop children side by side and reap them: politely, and each after its time of grace by force."""
    begun = time.monotonic()
    alive = [(process, command) for process, command in children if process.poll() is None]
    for process, command in alive:
        process.send_signal(command.stop_signal)
    for process, command in sorted(alive, key=lambda child: child[1].grace_seconds):
        try:
            process.wait(max(0.0, begun + command.grace_seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.warning("%s did not stop within %g s, killing it", command.name, command.grace_seconds)
            process.kill()
            process.wait()


def describe_exit(exit_code: int) -> str:
    if exit_code < 0:
        return f"was ended by signal {-exit_code} ({signal.strsignal(-exit_code)})"
    return f"ended with code {exit_code}"


def last_lines(log: Path | None, count: int = 15) -> str:
    """The end of a log, under its path, for a message."""
    if log is None:
        return ""
    lines = log.read_text(errors="replace").splitlines()[-count:] if log.exists() else []
    return "\n".join([f"The last lines of {log}:", *lines])
