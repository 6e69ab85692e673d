"""Word among the server processes of one host that something was changed: nobody goes on with old leave.

Processes on other hosts notice when what they keep runs out.
"""

import mmap
import os
import time
from contextlib import suppress
from pathlib import Path

PATH_VARIABLE = "PLUMBLINE_CHANGES"
SIZE = 8


def share() -> None:
    """To be called before server processes are started: they and this one then see the same number."""
    if not hasattr(os, "memfd_create"):
        return
    descriptor = os.memfd_create("plumbline-changes")
    os.ftruncate(descriptor, SIZE)
    # By this path a child finds it however it was started; it ends with this process, even a killed one.
    os.environ[PATH_VARIABLE] = f"/proc/{os.getpid()}/fd/{descriptor}"


def shared_memory() -> mmap.mmap:
    # A process that is alone, or may not see the other's descriptors, has a number of its own.
    with suppress(KeyError, OSError), Path(os.environ[PATH_VARIABLE]).open("r+b") as file:
        return mmap.mmap(file.fileno(), SIZE)
    return mmap.mmap(-1, SIZE)


memory = shared_memory()


def note() -> None:
    """Something was changed and committed."""
    memory[:] = time.monotonic_ns().to_bytes(SIZE, "little")


def state() -> bytes:
    """Another whenever something was changed."""
    return memory[:]
