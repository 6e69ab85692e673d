"""Kernels made from plain functions: the signature gives the parameters, the returned table the rows."""

import dataclasses
import inspect
import math
import random
import sys
from collections.abc import Callable, Iterable
from datetime import date, datetime
from importlib.metadata import PackageNotFoundError, version
from types import FunctionType
from typing import Any, cast

import numpy as np
from rest_framework.exceptions import ValidationError

from analytics.kernels import well
from analytics.kernels.declaration import BadDeclaration, Kernel, Progress, Table, Values, accept
from analytics.kernels.parameters import (
    REQUIRED,
    DayParameter,
    MomentParameter,
    NumberParameter,
    Parameter,
    TextParameter,
    WholeParameter,
)
from analytics.kernels.tables import table_of

# Arguments that are no parameters: the run's seed, and a generator made from it.
GIVEN = ("seed", "rng")
# JSON parsers that read numbers as doubles change larger whole numbers.
LARGEST_WHOLE = 2**53 - 1
LARGEST_NUMBER = sys.float_info.max
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# By annotation: the kind of parameter, its bounds, and an example.
KINDS: dict[Any, tuple[type[Parameter], dict[str, Any], Any]] = {
    date: (DayParameter, {}, "2026-01-01"),
    datetime: (MomentParameter, {}, "2026-01-01T00:00:00Z"),
    int: (WholeParameter, {"minimum": -LARGEST_WHOLE, "maximum": LARGEST_WHOLE}, 1),
    float: (NumberParameter, {"minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER}, 1.0),
    str: (TextParameter, {}, "text"),
}
# These names need no annotation; they mean what they mean for the kernel `well`.
PERIOD = {"date_start": date, "date_fin": date, "lag": int}
KNOWN = {parameter.name: parameter for parameter in well.KERNEL.parameters if parameter.name in PERIOD}


def kernel_of(
    function: FunctionType, name: str, origin_version: str, libraries: Iterable[str] = ()
) -> Kernel:
    """A kernel that calls the function. Raises BadDeclaration if its signature cannot be read."""
    arguments = inspect.signature(function, eval_str=True).parameters.values()
    kinds = {each.name: kind_of(each) for each in arguments if each.name not in GIVEN}
    parameters = [parameter_of(each, kinds[each.name]) for each in arguments if each.name in kinds]
    summary = " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
    return Kernel(
        name=name,
        label=words(name),
        description=summary or f"The function {function.__name__}.",
        version=origin_version,
        parameters=parameters,
        columns=(),
        invariants=(),
        run=caller(function, [each.name for each in arguments if each.name in GIVEN]),
        example={p.name: example_of(p, kinds[p.name]) for p in parameters if p.default is REQUIRED},
        # A row every `lag` days is within the same bounds as for `well`.
        check=well.check if PERIOD.items() <= kinds.items() else accept,
        libraries=tuple(dict.fromkeys((*libraries, "numpy", *libraries_of(function)))),
    )


def words(name: str) -> str:
    return name.replace("_", " ").replace("-", " ").strip().capitalize()


def kind_of(argument: inspect.Parameter) -> Any:
    """The type that an argument is declared with; a key of KINDS."""
    if argument.kind not in NAMED:
        raise BadDeclaration(f"the argument {argument} can't be given by name")
    is_bare = argument.annotation is inspect.Parameter.empty
    kind = PERIOD.get(argument.name) if is_bare else argument.annotation
    if kind is None:
        raise BadDeclaration(f"the argument {argument.name} needs an annotation: {kinds_in_words()}")
    if kind not in KINDS:
        raise BadDeclaration(f"the argument {argument} must be annotated with {kinds_in_words()}")
    return kind


def kinds_in_words() -> str:
    *others, last = (kind.__name__ for kind in KINDS)
    return f"{', '.join(others)} or {last}"


def parameter_of(argument: inspect.Parameter, kind: Any) -> Parameter:
    if PERIOD.get(argument.name) is kind:
        parameter = KNOWN[argument.name]
    else:
        declared, bounds, _ = KINDS[kind]
        parameter = declared(name=argument.name, label=words(argument.name), **bounds)
    if argument.default is inspect.Parameter.empty:
        return parameter
    default = float(argument.default) if is_whole(argument.default) and kind is float else argument.default
    field = parameter.api_field()
    try:
        is_kept = type(default) is kind and field.run_validation(field.to_representation(default)) == default
    except ValidationError:
        is_kept = False
    if not is_kept or (kind is float and not math.isfinite(default)):
        raise BadDeclaration(
            f"the default of the argument {argument} is no {kind.__name__} within its bounds"
        )
    return dataclasses.replace(parameter, default=default)


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def example_of(parameter: Parameter, kind: Any) -> Any:
    return well.KERNEL.example[parameter.name] if parameter in KNOWN.values() else KINDS[kind][2]


def caller(
    function: FunctionType, given: list[str]
) -> Callable[[Values, np.random.Generator, Progress], Table]:
    def run(parameters: Values, rng: np.random.Generator, progress: Progress) -> Table:
        seed = cast(np.random.SeedSequence, rng.bit_generator.seed_seq).entropy
        assert isinstance(seed, int)  # noqa: S101  for the type checker
        # A function without a generator of its own draws from these two.
        random.seed(seed)
        np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
        values = {"seed": seed, "rng": rng}
        return table_of(function(**parameters, **{name: values[name] for name in given}))

    return run


def libraries_of(function: FunctionType) -> list[str]:
    """The distributions whose names the function's module imports, such as numpy and pandas."""
    found = (
        getattr(value, "__module__", None) or getattr(value, "__name__", None)
        for value in inspect.unwrap(function).__globals__.values()
    )
    roots = {name.partition(".")[0] for name in found if isinstance(name, str)}
    installed = [name for name in sorted(roots - sys.stdlib_module_names) if is_installed(name)]
    # As distributions are called: two spellings of one name are one library.
    return [name.replace("_", "-") for name in installed]


def is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
