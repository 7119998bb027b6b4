"""The project from Python: a program, a mapping of it, a report, options for the compiler.

    problem = mallocgame.load(function, *shapes)  # or a committed program's name, or a file
    result = mallocgame.map(problem, "local_search", budget_s=10)
    result.report("results/mine")
    options = result.compiler_options()  # for jax.jit(function).lower(...).compile(...)

docs/walkthrough.md shows all of it.  Packages that only some calls need (JAX, the compiler,
matplotlib) are imported by those calls.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamekit.errors import InputError
from gamekit.jsonfile import short
from gamekit.text import shown
from mallocgame.arguments import (
    check_path,
    check_seconds,
    check_seed,
)
from mallocgame.judge import Simulation, Violation, simulate, verify
from mallocgame.program import Program, load_program, save_program
from mallocgame.program.mapping import Mapping, save_mapping
from mallocgame.promise import (
    Promise,
    import_notes,
    latency_error,
    promise,
)
from mallocgame.suites import (
    PRODUCTION,
    SUFFIXES,
    find_program,
    find_programs,
    load_module,
    load_production,
    save_module,
)

if TYPE_CHECKING:
    from mallocgame.game.options import GameConfig
    from mallocgame.mappers.base import Mapper
    from mallocgame.measure import Measured
    from mallocgame.xla.steer.confirm import Confirmation
    from mallocgame.xla.workload import Workload

TIMEOUT_S = 600.0
# Endings of modules' files (mallocgame.xla.compile.given).
MODULES = (".mlir", ".mlir.bc", ".stablehlo", ".jaxexport")
# No suite has programs beyond this: the rules cannot express estimates of some instructions.
LARGEST_ERROR = 0.03


@dataclasses.dataclass(frozen=True)
class Problem:
    """A program to be mapped.

    production: the compiler's own mapping of it; None if there is none.
    module: the StableHLO that it was compiled from, with which a mapping can be confirmed; None if
        it is not known.
    """

    program: Program
    production: Mapping | None = None
    module: str | None = dataclasses.field(default=None, repr=False)

    @functools.cached_property
    def latency_error(self) -> float | None:
        """Relative error of the compiler's own mapping's cycles, simulated against its estimate.

        Each loop body counts once, and stalls do not count.  None without that mapping or its
        estimate. Gains that are not well above this error mean little (docs/calibration.md).
        """
        if self.production is None:
            return None
        return latency_error(self.program, simulate(self.program, self.production))

    def save(self, path: str | Path) -> None:
        """Writes ``NAME.program.json.gz`` and, beside it, production's mapping and the module.

        A module of more than `mallocgame.suites.MOST_MODULE_BYTES` is left out.  Mappings of what
        is loaded from the file are not confirmed then.

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
        if self.module is not None:
            save_module(self.module, path)

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
            + "".join(f"; {note}" for note in self.notes)
        )

    @functools.cached_property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the program was made, a clause each."""
        return tuple(import_notes(self.program, self.production))


@dataclasses.dataclass(frozen=True)
class Result:
    """A mapping of a problem, and what the judge says about it.

    mapper, budget_s, seed: what made the mapping.
    seconds: how long that took.
    decisions, drop_backups: of the game that made it, 0 without a game.
    confirmation: what the compiler makes of it; None if it was not asked.
    levers: what options may say.
    learned: the problem with the latencies that the mapping was made with, if compiles of earlier
        mappings were part of their fit; None if they are the problem's.
    """

    problem: Problem
    mapping: Mapping
    mapper: str
    budget_s: float
    seed: int
    seconds: float
    decisions: int = 0
    drop_backups: int = 0
    confirmation: Confirmation | None = None
    levers: str = "public"
    learned: Problem | None = dataclasses.field(default=None, repr=False)

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

    @functools.cached_property
    def promise(self) -> Promise | None:
        """The gain over production with its error; None without a mapping of production's to trust.

        It is made with what was known before the mapping was compiled.  `speed_up` is the judge's
        figure by the problem's latencies, which knows of no error.
        """
        known = self.learned or self.problem
        if known.production is None:
            return None
        mapping = dataclasses.replace(self.mapping, fingerprint=known.program.fingerprint)
        return promise(known.program, known.production, mapping)

    @property
    def speed_up(self) -> float | None:
        """``latency(production) / latency(mapping) - 1``; None without a production mapping."""
        if self.problem.production is None or self.simulation.latency_s <= 0:
            return None
        production = simulate(self.problem.program, self.problem.production)
        return production.latency_s / self.simulation.latency_s - 1

    def compiler_options(self) -> dict[str, str | int | bool]:
        """Options for ``jax.jit(function).lower(...).compile(compiler_options=...)``.

        If the compiler was asked, these are what it does not estimate as slower than production;
        else what the mapping says, unconfirmed.

        Raises:
          InputError: the program's machine is not a chip of the compiler.
        """
        if self.confirmation is not None:
            return dict(self.confirmation.options)
        from mallocgame.xla.steer.export import compiler_options
        from mallocgame.xla.steer.steer import chip_of

        program = self.problem.program
        return compiler_options(program, self.mapping, chip_of(program), self.levers)

    def report(self, folder: str | Path, measured: Measured | None = None) -> Path:
        """Writes the program, mappings, pictures, results.json and report.html into a folder.

        Args:
          measured: what `mallocgame.measure.measure` found of these options on a device.

        Returns:
          The report's path.

        Raises:
          InputError: the folder cannot be written.
        """
        folder = check_path("folder", folder)
        try:
            from mallocgame.result_report import write_result

            return write_result(self, folder, measured)
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from None

    def save(self, path: str | Path) -> None:
        """Writes the mapping as JSON, gzipped if the name ends in ``.gz``."""
        save_mapping(self.mapping, check_path("path", path))

    def __str__(self) -> str:
        against = "" if self.promise is None else f", {self.promise}"
        verdict = "verified" if self.verified else f"{len(self.violations)} violations"
        if self.confirmation is not None:
            verdict += f"; {self.confirmation}"
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
    trip_count: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Problem:
    """Loads one program from a committed suite, a file or a JAX function.

    Args:
      source: "tpu_v4/NAME", a program's file, a function, a
        `mallocgame.xla.workload.Workload`, or a module's file: StableHLO text (``.mlir``,
        ``.stablehlo``), bytecode (``.mlir.bc``) or what ``jax.export`` writes (``.jaxexport``).
      shapes: of a function's arguments: arrays or ``jax.ShapeDtypeStruct``, in pytrees.
      chip: v4, v5e, v5p, v6e or tpu7x.  This and all that follow are for functions and modules.
      capacity_mib: fast memory; None for all that the chip has.
      donate: numbers of the arguments whose memory the result may reuse, one or several, from 0,
        or from -1 for the last one.
      name: of the program; None for the function's own.
      work: a folder that keeps the compiles for reuse; None for a temporary one.
      timeout_s: for each compile.
      trip_count: executions of loops whose number depends on data; None assumes what the compiler
        itself does, five, and the problem says so.
      progress: called with a line after each compile.

    Raises:
      InputError: nothing is found, or several programs (see `load_all`); an argument is not what it
        must be; the function cannot be traced or compiled; or the compiler is not installed.
    """
    is_file = isinstance(source, (str, Path))
    if is_file and (shapes or donate != ()):
        raise InputError(
            f"{source}: shapes must be left out for a name or file, and donate too; they belong to "
            "a function"
        )
    if is_file and not str(source).endswith(MODULES):
        return _read(find_program(str(source)))
    from mallocgame.xla.loading import compile_source

    made = compile_source(
        source, shapes, donate, chip=chip, capacity_mib=capacity_mib, name=name, work=work,
        timeout_s=timeout_s, trip_count=trip_count, progress=progress,
    )  # fmt: skip
    return Problem(made.item.program, made.item.mapping, made.module)


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
    confirm: bool = True,
    levers: str = "public",
    search_s: float = 0.0,
    progress: Callable[[str], None] | None = None,
    watch: Callable[[float], None] | None = None,
) -> Result:
    """Maps a program, and asks the compiler what it makes of the mapping.

    Args:
      mapper: a name in `mallocgame.mappers.registry.MAPPERS`; docs/mappers.md describes them.
        Local search starts from production's mapping too, and does nothing that the compiler
        would not follow (`mallocgame.followed`).
      budget_s: seconds for mappers that search.
      seed: makes mappers that draw at random repeatable.
      config: options of the game; None for the defaults.
      confirm: whether to compile the options at the end, at most twelve compiles, and none where no
        gain is promised.  What they teach of the latencies is used for another local search and
        its compile, and so on, three times at most, each of `budget_s`, while that promises more.
        It needs the compiler, and the module of the problem; without them the result has no
        confirmation.
      levers: "public", or "all" to use an option of the compiler that has no public documentation,
        whose meaning was read off its binary, and which may change with any version.
      search_s: seconds for a search with the compiler in the loop after that, which changes a
        little, compiles, and keeps what the compiler estimates as faster.
      progress: called with a line after each of those compiles.
      watch: told again and again the share of the latency that is saved so far, by mappers in
        `mallocgame.mappers.registry.WATCHED`.

    Raises:
      InputError: an argument is not what it must be, or the mapper needs a missing package.
    """
    from mallocgame.game.options import GameConfig
    from mallocgame.mappers.registry import MAPPERS, WATCHED

    if not isinstance(mapper, str) or mapper not in MAPPERS:
        raise InputError(f"mapper: must be one of {', '.join(MAPPERS)}, got {short(mapper)}")
    budget_s, seed = check_seconds("budget_s", budget_s), check_seed(seed)
    search_s = check_seconds("search_s", search_s)
    if search_s and not confirm:
        raise InputError("search_s: must be 0 with confirm=False, which leaves the compiler out")
    if config is not None and not isinstance(config, GameConfig):
        raise InputError(f"config: must be a GameConfig, got {short(config)}")
    problem = Problem(problem) if isinstance(problem, Program) else problem
    if not isinstance(problem, Problem):
        raise InputError(
            f"problem: must be a Problem or a Program, got {short(problem)}; load makes a Problem "
            "of a name or a file"
        )
    from mallocgame.xla.steer.export import check_levers

    levers = check_levers(levers)
    run: Mapper = MAPPERS[mapper]
    if mapper in WATCHED:
        production = problem.production
        if production is not None and verify(problem.program, production):
            production = None
        run = functools.partial(WATCHED[mapper], progress=watch, production=production)
    made = run(problem.program, config or GameConfig(), budget_s, seed)
    result = Result(
        problem, made.mapping, mapper, budget_s, seed, made.seconds, made.decisions,
        made.drop_backups, levers=levers,
    )  # fmt: skip
    if not confirm:
        return result

    def search(program: Program, production: Mapping) -> Mapping:
        searched = functools.partial(WATCHED[mapper], progress=watch, production=production)
        return searched(program, config or GameConfig(), budget_s, seed).mapping

    from mallocgame.confirmed import confirmed

    return confirmed(result, search if mapper in WATCHED else None, search_s, progress)


def _read(path: Path) -> Problem:
    program = load_program(path)
    return Problem(program, load_production(path, program), load_module(path, program))
