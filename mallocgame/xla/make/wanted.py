"""Programs to be made, as data that can be handed to another machine."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gamekit.text import file_name
from mallocgame.xla.compile import compiler
from mallocgame.xla.compile.compiler import DEFAULT_TIMEOUT_S, Function, Lowered, lower
from mallocgame.xla.compile.workfolder import Progress, Workfolder
from mallocgame.xla.make.driver import Made, make_program
from mallocgame.xla.read.chips import chip_by_name


@dataclass(frozen=True)
class StableHlo:
    """A module as text, and the name of its file."""

    text: str
    file: str


@dataclass(frozen=True)
class Wanted:
    """A program to be compiled and imported.

    what: a function that can be imported where it is made, or a module.
    capacity_bytes: fast memory; None chooses it.
    work: folder of its compiles where it is made; None for a temporary one.
    """

    name: str
    what: Function | StableHlo
    chip: str = "v4"
    capacity_bytes: int | None = None
    work: Path | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S


def make(wanted: Wanted, progress: Progress) -> Made:
    """Compiles and imports a program.

    Raises:
      InputError: one line that says what is missing, or which step failed.
    """
    compiler.require_libtpu()
    with _folder(wanted) as folder:
        if isinstance(wanted.what, StableHlo):
            path = folder / "lowered.mlir"
            path.write_text(wanted.what.text)
            lowered = Lowered(path, f"StableHLO {wanted.what.file}")
        else:
            progress(f"{wanted.name}: tracing {wanted.what.name}")
            lowered = lower(wanted.what, folder, wanted.timeout_s)
        chip = chip_by_name(wanted.chip)
        work = Workfolder(folder, lowered, chip, progress, wanted.timeout_s)
        return make_program(work, wanted.name, wanted.capacity_bytes)


def make_elsewhere(wanted: Wanted) -> Made:
    """The same as a task of a cluster, which tells of no progress."""
    return make(wanted, lambda line: None)


@contextlib.contextmanager
def _folder(wanted: Wanted) -> Iterator[Path]:
    """The folder of the compiles, named after the program for progress lines."""
    if wanted.work is not None:
        wanted.work.mkdir(parents=True, exist_ok=True)
        yield wanted.work
        return
    with tempfile.TemporaryDirectory(prefix="mallocgame-import-") as temporary:
        folder = Path(temporary) / file_name(wanted.name)
        folder.mkdir()
        yield folder
