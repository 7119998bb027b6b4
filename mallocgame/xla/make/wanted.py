"""Programs to be made, as data that can be handed to another machine."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gamekit.cluster import Cluster
from gamekit.text import file_name
from mallocgame.xla.compile import compiler
from mallocgame.xla.compile.compiler import DEFAULT_TIMEOUT_S, Function, Lowered, lower
from mallocgame.xla.compile.workfolder import Progress, Workfolder
from mallocgame.xla.make.driver import Made, make_program
from mallocgame.xla.read.chips import chip_by_name
from mallocgame.xla.steer.roundtrip import STABLEHLO


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
            path = folder / STABLEHLO
            path.write_text(wanted.what.text)
            lowered = Lowered(path, f"StableHLO {wanted.what.file}")
        else:
            progress(f"{wanted.name}: tracing {wanted.what.name}")
            lowered = lower(wanted.what, folder, wanted.timeout_s)
        chip = chip_by_name(wanted.chip)
        work = Workfolder(folder, lowered, chip, progress, wanted.timeout_s)
        return make_program(work, wanted.name, wanted.capacity_bytes)


def make_all(
    wanted: Sequence[Wanted],
    scheduler: str | None,
    progress: Progress,
    begins: Callable[[int], None],
    done: Callable[[int, Made | str], None],
) -> None:
    """Makes programs, one after the other here, or on a Dask scheduler's workers.

    Args:
      scheduler: its address; None for this machine.
      begins: gets the number of a program that is begun, here only.
      done: gets the number, and the program or the reason why there is none, in any order.

    Raises:
      InputError: the scheduler cannot be reached, or was lost.
    """
    if scheduler is None:
        for number, each in enumerate(wanted):
            begins(number)
            done(number, attempt(each, progress))
    elif wanted:
        with Cluster(scheduler) as cluster:
            cluster.run(attempt, [(each,) for each in wanted], done, done)


def attempt(wanted: Wanted, progress: Progress = lambda line: None) -> Made | str:
    """A program, or one line that says why it could not be made."""
    try:
        return make(wanted, progress)
    except Exception as error:  # of any kind: other programs are still made
        return " ".join(str(error).split()) or type(error).__name__


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
