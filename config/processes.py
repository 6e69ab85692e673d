"""Commands run as child processes that never outlive their parent."""

import ctypes
import fcntl
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
# Looked up at import: after a fork little more than system calls is safe. macOS has no prctl.
prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
if prctl is not None:
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


def die_with_parent(death_signal: int = signal.SIGKILL, *, parent: int | None = None) -> None:
    """Have the kernel send `death_signal` to this process when its parent ends, even by kill -9.

    Call it in the child, after any change of user (a change clears the setting). `parent` is the expected
    parent's process id: if that process has ended already, this one ends at once. Without prctl (macOS) the
    call does nothing. Raises OSError.
    """
    if prctl is None:
        return
    if prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Command:
    """A program to run, and how to stop it.

    `serves_others`: stop it only after all commands without this flag.
    `become`: called in the child before exec, to change the user.
    `lock`: a file that the child and its descendants keep locked while any of them lives, so that a new start
    waits until the leftovers of a killed server have ended.
    `stale`: files to remove once the lock is taken.
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
        """Start the program; its output is appended to `log`, or goes to our own output without one.

        Raises BlockingIOError while descendants of an earlier start hold `lock`.
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
                # Ctrl-C reaches a whole process group: in a session of its own the child waits for the
                # supervisor, which decides the order of stopping.
                start_new_session=True,
                preexec_fn=before_exec,  # noqa: PLW1509  the supervisor has no threads
            )


def stop_together(children: Sequence[tuple[subprocess.Popen[bytes], Command]]) -> None:
    """Send all children their stop signal, kill each that outlasts its `grace_seconds`, and reap them."""
    begun = time.monotonic()
    alive = [(process, command) for process, command in children if process.poll() is None]
    for process, command in alive:
        process.send_signal(command.stop_signal)
    for process, command in sorted(alive, key=lambda child: child[1].grace_seconds):
        try:
            process.wait(max(0.0, begun + command.grace_seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.warning("%s did not stop within %g s; killing it", command.name, command.grace_seconds)
            process.kill()
            process.wait()


def describe_exit(exit_code: int) -> str:
    if exit_code < 0:
        return f"was ended by signal {-exit_code} ({signal.strsignal(-exit_code)})"
    return f"ended with code {exit_code}"


def last_lines(log: Path | None, count: int = 15) -> str:
    """The end of a log, headed by its path, for an error message."""
    if log is None:
        return ""
    lines = log.read_text(errors="replace").splitlines()[-count:] if log.exists() else []
    return "\n".join([f"The last lines of {log}:", *lines])
