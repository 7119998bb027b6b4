"""From a function or a module's file to a program, for `mallocgame.load`."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gamekit.errors import InputError
from gamekit.files import write_text
from gamekit.text import file_name
from mallocgame.arguments import (
    check_capacity,
    check_donate,
    check_function,
    check_name,
    check_path,
    check_seconds,
    check_trips,
    source_of,
)
from mallocgame.xla.compile.compiler import Lowered, require_libtpu
from mallocgame.xla.compile.given import check_module_text, read_module
from mallocgame.xla.compile.workfolder import Workfolder
from mallocgame.xla.make.driver import Made, make_program
from mallocgame.xla.read.chips import Chip, chip_by_name
from mallocgame.xla.steer.roundtrip import STABLEHLO
from mallocgame.xla.workload import Workload


@dataclass(frozen=True)
class Request:
    """How to compile.

    capacity_bytes: fast memory.
    trip_count: executions of loops that do not say theirs; None to assume it.
    progress: called with a line after each compile.
    """

    name: str
    chip: Chip
    capacity_bytes: int
    timeout_s: float
    trip_count: int | None = None
    progress: Callable[[str], None] | None = None


def compile_source(
    source: str | Path | Callable[..., Any] | Workload,
    shapes: tuple[Any, ...],
    donate: int | Sequence[int],
    *,
    chip: str,
    capacity_mib: int | None,
    name: str | None,
    work: str | Path | None,
    timeout_s: float,
    trip_count: int | None,
    progress: Callable[[str], None] | None,
) -> Made:
    """Makes a program of a function, a workload or a module's file; see `mallocgame.load`."""
    target = chip_by_name(chip)
    timeout_s = check_seconds("timeout_s", timeout_s, positive=True)
    capacity = target.largest_bytes if capacity_mib is None else check_capacity(capacity_mib) << 20
    name, trips = check_name(name), check_trips(trip_count)
    workload = None if isinstance(source, (str, Path)) else _workload(source, shapes, donate)
    if workload is None:
        name = name or _identifier(Path(str(source)).name.split(".")[0])
    else:
        name = name or _identifier(_name_of(workload.function))
    require_libtpu()
    with work_folder(work, name) as folder:
        if workload is None:
            text, origin = given_module(str(source))
        else:
            text, origin = module_of(workload, name), workload.source
        request = Request(name, target, capacity, timeout_s, trips, progress)
        return compile_module(text, origin, request, folder)


def _workload(source: Any, shapes: tuple[Any, ...], donate: int | Sequence[int]) -> Workload:
    if not isinstance(source, Workload):
        numbers = check_donate(donate, len(shapes))
        return Workload(check_function(source), shapes, numbers, source_of(source))
    if shapes or donate != ():
        raise InputError(
            "load: shapes and donate must be left out for a Workload, which has its own"
        )
    return source


def _name_of(function: Any) -> str:
    """A function's name, or that of the function that it is a part of."""
    while not hasattr(function, "__name__") and hasattr(function, "func"):
        function = function.func
    return getattr(function, "__name__", "")


def _identifier(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_") or "program"


def module_of(workload: Workload, name: str) -> str:
    """The StableHLO of a workload.

    Raises:
      InputError: the function cannot be traced, or there is nothing in it to map.
    """
    try:
        text = workload.stablehlo()
        check_module_text(text, text, name)
    except InputError as error:
        raise InputError(f"{name}: {error}" if name not in str(error) else str(error)) from None
    except Exception as error:  # whatever the user's function raises while it is traced
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{name}: tracing failed: {type(error).__name__}: {reason}") from error
    return text


def given_module(path: str | Path) -> tuple[str, str]:
    """The StableHLO in a file, and where it comes from."""
    return read_module(Path(path)), f"StableHLO {Path(path).name}"


def compile_module(text: str, source: str, request: Request, folder: Path) -> Made:
    """Compiles a module several times, in `folder`, and makes a program of it."""
    stablehlo = folder / STABLEHLO
    write_text(stablehlo, text)
    work = Workfolder(
        folder,
        Lowered(stablehlo, source),
        request.chip,
        request.progress or (lambda line: None),
        request.timeout_s,
        request.trip_count,
    )
    return make_program(work, request.name, request.capacity_bytes)


@contextlib.contextmanager
def work_folder(given: str | Path | None, name: str) -> Iterator[Path]:
    """The given folder, or a temporary one named after the program, for progress lines."""
    if given is not None:
        folder = check_path("work", given)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise InputError(f"work: must be a folder, got the file {given}") from None
        except (OSError, ValueError) as error:
            raise InputError(f"work: must be a folder that can be written, got {error}") from None
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mallocgame-load-") as temporary:
        folder = Path(temporary) / file_name(name)
        folder.mkdir()
        yield folder
