"""A supervisor of child processes: restarts those that end, and stops all of them in order."""

import logging
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from config.processes import Command, describe_exit, last_lines, stop_together

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
FIRST_PAUSE_SECONDS = 0.25
DEATHS_ALLOWED, DEATHS_WINDOW_SECONDS = 5, 30
LOG_BYTES = 5 * 1024 * 1024


class Stopped(Exception):
    """A stop was requested, by a signal or by the end of the parent process."""


class GaveUp(Exception):
    """A process could not be started or kept alive; the message holds its last log lines."""


@dataclass
class Child:
    """A supervised command; without a `process` it is to be started at `due` (monotonic seconds)."""

    command: Command
    log: Path | None
    process: subprocess.Popen[bytes] | None = None
    due: float = 0
    deaths: list[float] = field(default_factory=list)


class Supervisor:
    """Starts commands and restarts those that end; leaving the `with` block stops all of them.

    Commands are stopped together, except that those with `serves_others` are stopped last.
    `logs`: folder of the log files, one for each command; with None the commands print to our own output.
    `parent`: process id; the supervisor also stops when this process is no longer its parent.
    `deaths_allowed`: a child that ends so often within DEATHS_WINDOW_SECONDS is given up.
    Use it from the main thread only: a child gets its death signal when the thread that forked it ends.
    """

    def __init__(
        self, logs: Path | None, *, parent: int | None = None, deaths_allowed: int = DEATHS_ALLOWED
    ) -> None:
        self.logs = logs
        self.parent = parent
        self.deaths_allowed = deaths_allowed
        self.children: list[Child] = []
        self.stop_requested = False

    def __enter__(self) -> Self:
        if self.logs is not None:
            self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for serves_others in (False, True):
            chosen = [child for child in self.children if child.command.serves_others == serves_others]
            stop_together([(child.process, child.command) for child in chosen if child.process is not None])

    def catch_signals(self) -> None:
        def request_stop(*_: object) -> None:
            self.stop_requested = True

        signal.signal(signal.SIGINT, request_stop)
        signal.signal(signal.SIGTERM, request_stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            signal.signal(signal.SIGHUP, request_stop)

    def add(self, command: Command, *, shown: bool = False) -> None:
        """Start a command and keep it running. `shown`: it prints to our own output instead of a log."""
        self.children.append(Child(command, None if shown else self.fresh_log(command.name)))
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
            stop_together([(process, command)])
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
        """Restart children that have ended. Raises Stopped and GaveUp."""
        if self.stop_requested or (self.parent is not None and os.getppid() != self.parent):
            raise Stopped
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self.bury(child, child.process.returncode)
            if child.process is None and time.monotonic() >= child.due:
                self.start(child)
        if os.getpid() == 1:
            self.reap_orphans()

    def restart(self) -> None:
        """Stop the children without `serves_others`; `tend` starts them again, those given up as well."""
        chosen = [child for child in self.children if not child.command.serves_others]
        stop_together([(child.process, child.command) for child in chosen if child.process is not None])
        for child in chosen:
            child.process, child.due, child.deaths = None, 0, []

    def start(self, child: Child) -> None:
        try:
            child.process = child.command.start(child.log)
        except BlockingIOError:
            child.due = time.monotonic() + FIRST_PAUSE_SECONDS

    def bury(self, child: Child, exit_code: int) -> None:
        """Schedule the next start, after a pause that doubles with each death. Raises GaveUp."""
        now = time.monotonic()
        name, story = child.command.name, describe_exit(exit_code)
        child.process = None
        child.deaths = [death for death in child.deaths if now - death < DEATHS_WINDOW_SECONDS] + [now]
        if len(child.deaths) >= self.deaths_allowed:
            child.due = math.inf
            count = f"{self.deaths_allowed} times within {DEATHS_WINDOW_SECONDS} s"
            raise GaveUp(f"{name} ended {count}, the last time it {story}.\n{last_lines(child.log)}")
        logger.warning("%s %s; starting it again%s", name, story, f" (log: {child.log})" if child.log else "")
        child.due = now + FIRST_PAUSE_SECONDS * 2 ** (len(child.deaths) - 1)

    def reap_orphans(self) -> None:
        """Reap the orphans that process 1 of a container inherits."""
        ours = {child.process.pid for child in self.children if child.process is not None}
        while True:
            try:
                # Only peek (WNOWAIT): the exit code of our own child belongs to its Popen object.
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid in ours:
                return
            os.waitpid(ended.si_pid, 0)

    def log_path(self, name: str) -> Path | None:
        return self.logs / f"{name}.log" if self.logs else None

    def fresh_log(self, name: str) -> Path | None:
        """Return the log's path; a log of more than LOG_BYTES is first renamed to `.log.1`, replacing it."""
        log = self.log_path(name)
        if log and log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        return log
