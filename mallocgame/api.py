"""The project from Python: a program, a mapping of it, a report, options for the compiler.

    problem = mallocgame.load(function, *shapes)  # or a committed program's name, or a file
    result = mallocgame.map(problem, "local_search", budget_s=10)
    result.report("results/mine")
    options = result.compiler_options()  # for jax.jit(function).lower(...).compile(...)

docs/walkthrough.md shows all of it.  Packages that only some calls need (JAX, the compiler,
matplotlib) are imported by those calls.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamekit.errors import InputError
from gamekit.files import write_text
from gamekit.jsonfile import short
from gamekit.text import file_name, shown
from mallocgame.arguments import (
    check_capacity,
    check_donate,
    check_function,
    check_name,
    check_path,
    check_seconds,
    check_seed,
    source_of,
)
from mallocgame.judge import Simulation, Violation, simulate, verify
from mallocgame.program import Program, load_program, save_program
from mallocgame.program.mapping import Mapping, save_mapping
from mallocgame.suites import PRODUCTION, SUFFIXES, find_program, find_programs, load_production

if TYPE_CHECKING:
    from mallocgame.game.options import GameConfig
    from mallocgame.mappers.base import Mapper
    from mallocgame.xla.read.chips import Chip
    from mallocgame.xla.workload import Workload

TIMEOUT_S = 600.0
# No suite has programs beyond this: the rules cannot express estimates of some instructions.
LARGEST_ERROR = 0.03


@dataclasses.dataclass(frozen=True)
class Problem:
    """A program to be mapped, and the compiler's own mapping of it; None if there is none."""

    program: Program
    production: Mapping | None = None

    @functools.cached_property
    def latency_error(self) -> float | None:
        """Relative error of the compiler's own mapping's cycles, simulated against its estimate.

        Each loop body counts once, and stalls do not count.  None without that mapping or its
        estimate. Gains that are not well above this error mean little (docs/calibration.md).
        """
        made = self.program.provenance.get("production", {}).get("estimated_cycles")
        if self.production is None or not made or not self.program.machine.clock_hz:
            return None
        seconds = simulate(self.program, self.production).elapsed_s.sum()
        return float(seconds * self.program.machine.clock_hz / made - 1)

    def save(self, path: str | Path) -> None:
        """Writes ``NAME.program.json.gz`` and, beside it, production's mapping.

        Raises:
          InputError: the name ends otherwise.
        """
        path = check_path("path", path)
        if not path.name.endswith(SUFFIXES[0]):
            raise InputError(f"{path}: must end in {SUFFIXES[0]}")
        save_program(self.program, path)
        if self.production is not None:
            beside = path.name.removesuffix(SUFFIXES[0]) + PRODUCTION[0]
            save_mapping(self.production, path.with_name(beside))

    def __str__(self) -> str:
        program = self.program
        size = sum(value.size_bytes for value in program.values) / 1e6
        fast = program.machine.fast_capacity_bytes >> 20
        error = self.latency_error
        doubt = (
            f"; its cycles are {error:+.1%} off, see docs/calibration.md"
            if error is not None and abs(error) > LARGEST_ERROR
            else ""
        )
        return (
            f"{shown(program.name)}: {len(program.instructions)} instructions, "
            f"{len(program.values)} values of {size:.0f} MB, {fast} MiB of fast memory{doubt}"
        )


@dataclasses.dataclass(frozen=True)
class Result:
    """A mapping of a problem, and what the judge says about it.

    mapper, budget_s, seed: what made the mapping.
    seconds: how long that took.
    decisions, drop_backups: of the game that made it, 0 without a game.
    """

    problem: Problem
    mapping: Mapping
    mapper: str
    budget_s: float
    seed: int
    seconds: float
    decisions: int = 0
    drop_backups: int = 0

    @functools.cached_property
    def simulation(self) -> Simulation:
        """The program's execution with the mapping."""
        return simulate(self.problem.program, self.mapping)

    @functools.cached_property
    def violations(self) -> tuple[Violation, ...]:
        """The rules that the mapping breaks; none, unless a mapper is wrong."""
        return tuple(verify(self.problem.program, self.mapping))

    @property
    def verified(self) -> bool:
        """Whether the judge accepts the mapping."""
        return not self.violations

    @property
    def saved(self) -> float:
        """Share of the latency with everything in slow memory that the mapping saves."""
        return self.simulation.saved_fraction

    @property
    def speed_up(self) -> float | None:
        """``latency(production) / latency(mapping) - 1``; None without a production mapping."""
        if self.problem.production is None or self.simulation.latency_s <= 0:
            return None
        production = simulate(self.problem.program, self.problem.production)
        return production.latency_s / self.simulation.latency_s - 1

    def compiler_options(self) -> dict[str, str | int | bool]:
        """Options for ``jax.jit(function).lower(...).compile(compiler_options=...)``.

        Raises:
          InputError: the program's machine is not a chip of the compiler.
        """
        from mallocgame.xla.steer.export import compiler_options
        from mallocgame.xla.steer.steer import chip_of

        program = self.problem.program
        return compiler_options(program, self.mapping, chip_of(program))

    def report(self, folder: str | Path) -> Path:
        """Writes the program, mappings, pictures, results.json and report.html into a folder.

        Returns:
          The report's path.

        Raises:
          InputError: the folder cannot be written.
        """
        folder = check_path("folder", folder)
        try:
            return _write_report(self, folder)
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from None

    def save(self, path: str | Path) -> None:
        """Writes the mapping as JSON, gzipped if the name ends in ``.gz``."""
        save_mapping(self.mapping, check_path("path", path))

    def __str__(self) -> str:
        against = "" if self.speed_up is None else f", {self.speed_up:+.2%} against production"
        verdict = "verified" if self.verified else f"{len(self.violations)} violations"
        return (
            f"{shown(self.problem.program.name)}: {self.mapper} saves {self.saved:.2%}{against}, "
            f"{verdict} ({self.seconds:.1f} s)"
        )


def load(
    source: str | Path | Callable[..., Any] | Workload,
    *shapes: Any,
    chip: str = "v4",
    capacity_mib: int | None = None,
    donate: int | Sequence[int] = (),
    name: str | None = None,
    work: str | Path | None = None,
    timeout_s: float = TIMEOUT_S,
    progress: Callable[[str], None] | None = None,
) -> Problem:
    """Loads one program from a committed suite, a file or a JAX function.

    Args:
      source: "tpu_v4/NAME", a program's file, a function, or a
        `mallocgame.xla.workload.Workload`.
      shapes: of a function's arguments: arrays or ``jax.ShapeDtypeStruct``, in pytrees.
      chip: v4, v5e, v5p, v6e or tpu7x.  This and all that follow are for functions only.
      capacity_mib: fast memory; None for all that the chip has.
      donate: numbers of the arguments whose memory the result may reuse, one or several, from 0,
        or from -1 for the last one.
      name: of the program; None for the function's own.
      work: a folder that keeps the compiles for reuse; None for a temporary one.
      timeout_s: for each compile.
      progress: called with a line after each compile.

    Raises:
      InputError: nothing is found, or several programs (see `load_all`); an argument is not what it
        must be; the function cannot be traced or compiled; or the compiler is not installed.
    """
    if isinstance(source, (str, Path)):
        if shapes:
            raise InputError(
                f"{source}: shapes must be left out for a name or file, they belong to a function"
            )
        return _read(find_program(str(source)))
    from mallocgame.xla.compile.compiler import require_libtpu
    from mallocgame.xla.read.chips import chip_by_name
    from mallocgame.xla.workload import Workload

    target = chip_by_name(chip)
    timeout_s = check_seconds("timeout_s", timeout_s, positive=True)
    capacity = target.largest_bytes if capacity_mib is None else check_capacity(capacity_mib) << 20
    if isinstance(source, Workload):
        if shapes or donate != ():
            raise InputError(
                "load: shapes and donate must be left out for a Workload, which has its own"
            )
        workload = source
    else:
        numbers = check_donate(donate, len(shapes))
        workload = Workload(check_function(source), shapes, numbers, source_of(source))
    name = check_name(name) or _identifier(workload.function)
    require_libtpu()
    with _folder(work, name) as folder:
        return _compile(workload, target, name, capacity, folder, timeout_s, progress)


def _compile(
    workload: Workload,
    chip: Chip,
    name: str,
    capacity_bytes: int,
    folder: Path,
    timeout_s: float,
    progress: Callable[[str], None] | None,
) -> Problem:
    """Traces a workload and makes a problem of it, with its compiles in `folder`."""
    from mallocgame.xla.compile.compiler import Lowered
    from mallocgame.xla.compile.workfolder import Workfolder
    from mallocgame.xla.make.driver import make_program

    stablehlo = folder / "lowered.mlir"
    try:
        stablehlo.write_text(workload.stablehlo())
    except Exception as error:  # whatever the user's function raises while it is traced
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{name}: tracing failed: {type(error).__name__}: {reason}") from error
    lowered = Lowered(stablehlo, workload.source)
    say = progress or (lambda line: None)
    made = make_program(Workfolder(folder, lowered, chip, say, timeout_s), name, capacity_bytes)
    return Problem(made.item.program, made.item.mapping)


def load_all(*names: str | Path) -> list[Problem]:
    """Loads the programs of committed suites, folders and files.

    Raises:
      InputError: nothing is found under a name, or a file is invalid.
    """
    for name in names:
        if not isinstance(name, (str, Path)):
            raise InputError(f"load_all: must get names and files, got {short(name)}")
    return [_read(path) for path in find_programs([str(name) for name in names])]


def map(
    problem: Problem | Program,
    mapper: str = "local_search",
    *,
    budget_s: float = 10.0,
    seed: int = 0,
    config: GameConfig | None = None,
    progress: Callable[[float], None] | None = None,
) -> Result:
    """Maps a program.

    Args:
      mapper: a name in `mallocgame.mappers.registry.MAPPERS`; docs/mappers.md describes them.
      budget_s: seconds for mappers that search.
      seed: makes mappers that draw at random repeatable.
      config: options of the game; None for the defaults.
      progress: told again and again the share of the latency that is saved so far, by mappers in
        `mallocgame.mappers.registry.WATCHED`.

    Raises:
      InputError: an argument is not what it must be, or the mapper needs a missing package.
    """
    from mallocgame.game.options import GameConfig
    from mallocgame.mappers.registry import MAPPERS, WATCHED

    if not isinstance(mapper, str) or mapper not in MAPPERS:
        raise InputError(f"mapper: must be one of {', '.join(MAPPERS)}, got {short(mapper)}")
    budget_s, seed = check_seconds("budget_s", budget_s), check_seed(seed)
    if config is not None and not isinstance(config, GameConfig):
        raise InputError(f"config: must be a GameConfig, got {short(config)}")
    problem = Problem(problem) if isinstance(problem, Program) else problem
    if not isinstance(problem, Problem):
        raise InputError(
            f"problem: must be a Problem or a Program, got {short(problem)}; load makes a Problem "
            "of a name or a file"
        )
    run: Mapper = MAPPERS[mapper]
    if progress is not None and mapper in WATCHED:
        run = functools.partial(WATCHED[mapper], progress=progress)
    made = run(problem.program, config or GameConfig(), budget_s, seed)
    counts = made.seconds, made.decisions, made.drop_backups
    return Result(problem, made.mapping, mapper, budget_s, seed, *counts)


def _read(path: Path) -> Problem:
    program = load_program(path)
    return Problem(program, load_production(path, program))


def _identifier(function: Any) -> str:
    """A program's name from a function's."""
    found = re.sub(r"\W+", "_", getattr(function, "__name__", "")).strip("_")
    return found or "program"


@contextlib.contextmanager
def _folder(given: str | Path | None, name: str) -> Iterator[Path]:
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


def _write_report(result: Result, folder: Path) -> Path:
    """Writes the files of `evaluate.py` for one program, with production and the bound."""
    from gamekit.domain import Instance, Solved
    from gamekit.evaluation.contest import Contestants
    from gamekit.evaluation.plan import Entry, plan_jobs
    from gamekit.evaluation.rows import finish, measure, row_record
    from mallocgame.domain import BOUND, DOMAIN, PRODUCTION
    from mallocgame.report import summarize, write_report
    from mallocgame.report.program_pictures import draw_program

    program, production = result.problem.program, result.problem.production
    own = Entry(result.mapper, result.mapper, result.budget_s, result.seed)
    others = [Entry(name, name, None, None) for name in (PRODUCTION, BOUND)]
    entries = [others[0], own, others[1]]
    mappings = folder / "mappings"
    mappings.mkdir(parents=True, exist_ok=True)
    stem = file_name(program.name)
    path = folder / f"{stem}{SUFFIXES[0]}"
    result.problem.save(path)
    instance = Instance(program.name, program.fingerprint, str(path), program, production)
    contest = Contestants(DOMAIN.name)
    made = Solved(result.mapping, result.seconds, result.decisions, result.drop_backups)
    found = {}
    for job in plan_jobs(DOMAIN, [instance], entries, mappings):
        solved = made if job.entry is own else contest.run(instance, job.entry)
        found[job.key] = measure(DOMAIN, job, instance, solved)
    finished = finish(DOMAIN, found, [instance], entries, mappings)
    rows = [row_record(DOMAIN, row) for row in finished]
    results = {
        "suite": program.name,
        "machine": program.machine.name,
        "versions": dict(program.provenance.get("versions", {})),
        "rows": rows,
        "summary": summarize(rows),
    }
    write_text(folder / "results.json", json.dumps(results, indent=1) + "\n")
    _, pictures = draw_program(path, rows, folder, stem)
    write_report(results, folder / "report.html", {program.name: pictures})
    return folder / "report.html"
