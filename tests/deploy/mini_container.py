"""The image, run without a container engine: its files, environment, user and commands in Linux namespaces.

A process sees a read-only root with the files that the Dockerfile copies to /app, the packages of
requirements.lock alone in /venv, its own processes, and a network of its own. Debian and Python are those of
this machine. Only root may do all this.
"""

import json
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import psutil

from config.installation.folder import OWNER, POSTGRES, REDIS
from tests.deploy.containers import IMAGE_ENVIRONMENT, MOUNTED, ROOT, in_image, is_sent
from tests.deploy.lock_files import locked
from tests.support.portal import eventually

UID, GID = map(int, in_image("USER").split(":"))
UNSHARE = ["unshare", "--pid", "--mount", "--net", "--ipc", "--uts", "--fork", "--kill-child"]
SITE = Path(sysconfig.get_path("purelib")).resolve()
# An address that another machine, or Docker's port on this one, would use.
ADDRESS = "172.17.0.2"
STOP_SECONDS = 90
SECRET_FOLDERS = [f"{MOUNTED[1:]}{end}" for end in ("", OWNER, POSTGRES, REDIS)]
# $1: the prepared files. $2 and $3: Python and the installed packages. The rest: user, group, command.
ENTER = f"""
set -e
files=$1 python=$2 site=$3 user=$4 group=$5 root=$1/root; shift 5
share() {{ mkdir -p "$root$2"; mount --bind "$1" "$root$2"; }}
show() {{ share "$1" "$2"; mount -o remount,ro,bind "$root$2"; }}
mount -t tmpfs -o mode=755 tmpfs "$root"
for place in /bin /etc /lib /lib64 /sbin /usr; do
    test -e "$place" || continue
    if test -L "$place"; then cp -P "$place" "$root$place"; else show "$place" "$place"; fi
done
mount --bind "$files/passwd" "$root/etc/passwd"
# Before what may lie in a folder of the same name.
for place in data {" ".join(SECRET_FOLDERS)} tmp; do share "$files/$place" "/$place"; done
show "$python" "$python"
show "$site" "$site"
show "$files/app" /app
show "$files/venv" /venv
mkdir "$root/proc" "$root/dev"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -o remount,ro "$root"
ip link set lo up
ip address add {ADDRESS}/32 dev lo
exec chroot --userspec="$user:$group" --groups="$group" "$root" sh -c 'cd /app && exec "$@"' sh "$@"
"""


def why_not() -> str:
    """The reason why this machine cannot run a container of this kind, in words; empty where it can."""
    if shutil.which("unshare") is None:
        return "unshare is missing (Linux has it in util-linux)"
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    return f"namespaces need more rights: {tried.stderr.strip()}" if tried.returncode else ""


@dataclass
class Image:
    """The files of the image, prepared in a folder; /data, those of secrets and /tmp are its volumes."""

    files: Path

    @classmethod
    def build(cls, files: Path) -> "Image":
        for name in ("root", "app", "data", *SECRET_FOLDERS, "tmp"):
            (files / name).mkdir()
        for path in ROOT.iterdir():
            if is_sent(path.name):
                copy = shutil.copytree if path.is_dir() else shutil.copy
                copy(path, files / "app" / path.name)
        install_packages(files / "venv")
        [made] = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if "useradd" in line]
        assert f"--uid {UID} " in made
        line = f"plumbline:x:{UID}:{GID}::/data:/usr/sbin/nologin\n"
        (files / "passwd").write_text(f"root:x:0:0:root:/root:/bin/sh\n{line}")
        # As the Dockerfile's `install` has them.
        secrets = ((name, 0o755) for name in SECRET_FOLDERS)
        for name, mode in (("data", 0o700), *secrets, ("tmp", 0o1777)):
            shutil.chown(files / name, UID, GID)
            (files / name).chmod(mode)
        return cls(files)

    def argv(self, *arguments: str, **environment: str) -> list[str]:
        """The command line that runs the image's entry point as process 1 of a container."""
        variables = IMAGE_ENVIRONMENT | environment
        variables["PATH"] = variables["PATH"].replace("$PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        inside = ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]
        entry = json.loads(in_image("ENTRYPOINT"))
        places = map(str, (self.files, sys.base_prefix, SITE, UID, GID))
        return [*UNSHARE, "bash", "-c", ENTER, "enter", *places, *inside, *entry, *arguments]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*arguments, **environment), capture_output=True, text=True, timeout=60, check=False
        )

    @contextmanager
    def started(self) -> Iterator["Container"]:
        """Run the image with no arguments, as `docker run` does, until it is healthy."""
        log = self.files / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                self.argv(*json.loads(in_image("CMD"))),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )
        container = Container(process, log)
        try:
            eventually(container.is_healthy)
            yield container
        finally:
            # --kill-child: process 1 ends with it, and all others with process 1.
            process.kill()
            process.wait()


@dataclass
class Container:
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def first(self) -> psutil.Process:
        """Process 1, as this machine sees it."""
        [child] = psutil.Process(self.process.pid).children()
        return child

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as `docker exec` does."""
        spaces = ["--mount", "--pid", "--net", "--ipc", "--uts", "--root"]
        user = [f"--setuid={UID}", f"--setgid={GID}"]
        variables = self.first.environ()
        inside = ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), *command]
        return subprocess.run(
            ["nsenter", f"--target={self.first.pid}", *spaces, *user, *inside],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def is_healthy(self) -> bool:
        """Run the image's own health check, once the program says that it is ready."""
        said = self.log.read_text()
        assert self.process.poll() is None, said
        if "Plumbline is ready" not in said:
            return False
        return self.execute(*json.loads(in_image("HEALTHCHECK").split(" CMD ")[1])).returncode == 0

    def stop(self, how: signal.Signals) -> int:
        """Send process 1 a signal; return its exit code."""
        self.first.send_signal(how)
        return self.process.wait(timeout=STOP_SECONDS)


def install_packages(venv: Path) -> None:
    """Make a virtual environment of the packages of requirements.lock, which are links to installed ones."""
    packages = venv / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    packages.mkdir(parents=True)
    (venv / "bin").mkdir()
    (venv / "bin/python").symlink_to(Path(sys.executable).resolve())
    (venv / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
    for package in locked(ROOT / "requirements.lock"):
        try:
            files = distribution(package.name).files
        except PackageNotFoundError:
            assert package.marker, f"{package.name} is not installed"
            continue
        for top in {file.parts[0] for file in files} - {".."}:
            link = packages / top
            if not link.is_symlink():
                link.symlink_to(SITE / top)
