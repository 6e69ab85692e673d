"""Kernels from outside: of installed packages by their entry points, and of the setting KERNELS.

Each is a `Kernel` or a plain function. One that cannot be used refuses the start by name: a portal without it
would fail later, and further from the cause.
"""

import hashlib
import importlib.util
import inspect
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from types import ModuleType
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from analytics.kernels.declaration import VERSION_LENGTH, BadDeclaration, Kernel
from analytics.kernels.function import kernel_of

logger = logging.getLogger(__name__)

GROUP = "plumbline.kernels"
HASH_LENGTH = 12


def kernel_table(built_in: Iterable[Kernel]) -> dict[str, Kernel]:
    """All kernels by name. Raises ImproperlyConfigured, naming the package or the entry of KERNELS."""
    table: dict[str, Kernel] = {}
    origins: dict[str, str] = {}
    for origin, kernel in (*usable(built_in), *packaged(), *configured()):
        if kernel.name in table:
            raise ImproperlyConfigured(
                f"Two kernels are called {kernel.name!r}: of {origins[kernel.name]}, and of {origin}."
            )
        table[kernel.name], origins[kernel.name] = kernel, origin
    return table


def usable(built_in: Iterable[Kernel]) -> Iterator[tuple[str, Kernel]]:
    """The built-in kernels whose libraries, extras of the portal, are installed."""
    for kernel in built_in:
        missing = [name for name in kernel.libraries if importlib.util.find_spec(name) is None]
        if missing:
            logger.info("No kernel %s: %s is not installed.", kernel.name, " or ".join(missing))
        else:
            yield "the portal itself", kernel


def packaged() -> Iterator[tuple[str, Kernel]]:
    for entry in entry_points(group=GROUP):
        origin = (
            f"the package {entry.dist.name if entry.dist else '?'} (entry point {entry.name} = {entry.value})"
        )
        with naming(origin):
            kernel = packaged_kernel(entry)
        yield origin, kernel


def packaged_kernel(entry: EntryPoint) -> Kernel:
    found = entry.load()
    if entry.dist is None:
        return as_kernel(found, entry.name, "1")
    return as_kernel(found, entry.name, entry.dist.version, libraries=[entry.dist.name.replace("_", "-")])


def configured() -> Iterator[tuple[str, Kernel]]:
    for name, source, attribute in settings.KERNELS:
        origin = f"the setting KERNELS ({source}{attribute and ':'}{attribute})"
        with naming(origin):
            module = module_of(source)
            found = getattr(module, attribute) if attribute else only_function(module)
            kernel = as_kernel(found, name, source_hash(module))
        yield origin, kernel


@contextmanager
def naming(origin: str) -> Iterator[None]:
    """Name the origin of any exception: loading a kernel runs foreign code."""
    try:
        yield
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ImproperlyConfigured(f"The kernel of {origin} can't be used: {reason}.") from error


def as_kernel(found: Any, name: str, origin_version: str, libraries: Iterable[str] = ()) -> Kernel:
    """A kernel from what was found, a declaration or a function. Without a name it keeps its own."""
    if inspect.isfunction(found):
        return kernel_of(found, name or found.__name__, origin_version[:VERSION_LENGTH], libraries)
    if not isinstance(found, Kernel):
        raise BadDeclaration(f"it is of the type {type(found).__name__}, neither a Kernel nor a function")
    if name and name != found.name:
        raise BadDeclaration(f"it declares the name {found.name!r}, not {name!r}")
    for library in found.libraries:
        version(library)
    return found


def module_of(source: str) -> ModuleType:
    """The module of a dotted name, or of a file; a relative path begins at the portal's folder."""
    if not source.endswith(".py"):
        return import_module(source)
    path = Path(settings.BASE_DIR, source)
    # The hash keeps two files kernel.py apart.
    name = f"kernel_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:HASH_LENGTH]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadDeclaration("it is no file of Python")
    module = importlib.util.module_from_spec(spec)
    # Before it runs: dataclasses and pickle look a module up by its name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def only_function(module: ModuleType) -> Any:
    names = [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    if len(names) != 1:
        raise BadDeclaration(
            f"it has {len(names)} public functions ({', '.join(names)}): name one after a colon"
        )
    return getattr(module, names[0])


def source_hash(module: ModuleType) -> str:
    """The version of a kernel that has no other: it changes with the file."""
    if not module.__file__:
        raise BadDeclaration("its module has no file")
    return hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()[:HASH_LENGTH]
