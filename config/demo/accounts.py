"""The user that the demo's servers run as: root must hand them to another, as PostgreSQL refuses root."""

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from config.processes import prctl

PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP = 28, 1 << 2
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522
capset = getattr(ctypes.CDLL(None, use_errno=True), "capset", None)


@dataclass(frozen=True)
class Account:
    """A user and group. With `search` it may also enter folders that are closed to it."""

    uid: int
    gid: int
    search: bool = False

    def become(self) -> None:
        """Change to this account; call it in the child before exec. Raises OSError without the right to."""
        if self.uid == os.geteuid():
            return
        if self.search:
            # With this bit capabilities outlast the change of user and count in access(2), which initdb uses.
            system_call(prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
        os.setgroups([])
        os.setgid(self.gid)
        os.setuid(self.uid)
        if self.search:
            keep_search_capability()


def system_call(function: Callable[..., int] | None, *arguments: object) -> None:
    """Make a system call through ctypes. Raises OSError if it fails or this system lacks it."""
    code = errno.ENOSYS if function is None else ctypes.get_errno() if function(*arguments) != 0 else 0
    if code:
        raise OSError(code, os.strerror(code))


def keep_search_capability() -> None:
    """Drop root's capabilities except one, which survives exec: to read files and enter folders."""
    mask = 1 << CAP_DAC_READ_SEARCH
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    effective_permitted_inheritable = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    system_call(capset, header, effective_permitted_inheritable)
    system_call(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0)


def first_closed_folder(account: Account, path: Path) -> Path | None:
    """Return the first folder that the account may not enter, of the parents of `path` and itself."""
    for folder in [*reversed(path.parents), path]:
        info = folder.stat()
        if info.st_uid == account.uid:
            needed = stat.S_IXUSR
        else:
            needed = stat.S_IXGRP if info.st_gid == account.gid else stat.S_IXOTH
        if not info.st_mode & needed:
            return folder
    return None
