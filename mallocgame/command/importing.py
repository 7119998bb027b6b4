"""Compiles functions for a TPU and makes programs of them; needs the extra tpu, but no TPU.

    mallocgame import --jax my_model:step --args 'f32[8,128],f32[128,128]' -o step.program.json.gz
    mallocgame import --jax my_model:small my_model:large --chip v5e -o programs
    mallocgame import --stablehlo step.mlir -o step.program.json.gz --work work
    mallocgame import --dump dumps/step -o programs

Each program comes with the compiler's own mapping beside it.  Several go to a folder, where those
that are there already are kept.  docs/suite.md says what is compiled.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gamekit.errors import InputError
from gamekit.text import file_name, say
from mallocgame.program.machine import MIB, machine_by_name
from mallocgame.suites import PRODUCTION, SUFFIXES
from mallocgame.xla.read.chips import CHIPS

if TYPE_CHECKING:
    from mallocgame.xla.make.driver import Made
    from mallocgame.xla.make.wanted import Wanted

PROGRAM_ENDINGS = (*SUFFIXES, ".json.gz", ".json")
TIMEOUT_S = 600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--jax", nargs="+", metavar="MODULE:FUNCTION", help="returns a Workload; plain with --args"
    )
    what.add_argument(
        "--stablehlo", nargs="+", type=Path, metavar="FILE", 
        help="StableHLO text or bytecode, or a file of jax.export",
    )  # fmt: skip
    what.add_argument(
        "--dump", nargs="+", type=Path, metavar="FOLDER",
        help="with msa_off.hlo.gz and the compiles",
    )  # fmt: skip
    parser.add_argument("--args", metavar="SHAPES", help="a plain function's: f32[8,128],s32[]")
    parser.add_argument("--chip", default="v4", choices=sorted(CHIPS), help="default v4")
    parser.add_argument("--machine", default="tpu_v4", help="of a dump: a preset, default tpu_v4")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="NAME.program.json.gz, or a folder"
    )
    parser.add_argument(
        "--capacity", type=int, metavar="MIB", help="default: chosen to be contested"
    )
    add_compile_arguments(parser)
    add_scheduler_argument(parser)


def add_scheduler_argument(parser: argparse.ArgumentParser) -> None:
    """Where to compile."""
    parser.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="compile on a Dask scheduler's workers, tcp://HOST:8786; docs/cluster.md",
    )  # fmt: skip


def add_compile_arguments(parser: argparse.ArgumentParser) -> None:
    """What commands that compile have in common."""
    parser.add_argument("--work", type=Path, help="folder that keeps the compiles for reuse")
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT_S, metavar="S",
        help=f"seconds for each step of a compile, default {TIMEOUT_S:.0f}",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Imports as told; 1 if some of several programs could not be made."""
    if options.dump:
        return _import_dumps(options)
    from mallocgame.xla.compile.compiler import require_libtpu

    if options.scheduler is None:
        require_libtpu()
    if options.args and options.stablehlo:
        raise InputError("--args: must be left out with --stablehlo, whose module has its shapes")
    sources = options.jax or options.stablehlo
    if len(sources) == 1 and options.out.name.endswith(SUFFIXES):
        if options.out.exists():
            raise InputError(f"{options.out}: already exists; choose another name")
        failed = _import(options, _wanted(options, [_name_of(options.out)]), [options.out])
        for reason in failed.values():
            raise InputError(reason)
        return 0
    names = [_default_name(source) for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name}: is there twice; import them into different folders")
    targets = [options.out / f"{name}{SUFFIXES[0]}" for name in names]
    failed = _import(options, _wanted(options, names), targets)
    for name, reason in failed.items():
        say(f"error: {name}: {reason}", error=True)
    return 1 if failed else 0


def _import(
    options: argparse.Namespace, wanted: Sequence[Wanted], targets: Sequence[Path]
) -> dict[str, str]:
    """Makes what is not there yet; returns failures, name to reason."""
    from mallocgame.xla.make.wanted import make_all

    waiting = [number for number, target in enumerate(targets) if not target.exists()]
    for number in sorted(set(range(len(targets))) - set(waiting)):
        say(f"{targets[number]}: is there already")
    failed: dict[str, str] = {}

    def begins(place: int) -> None:
        say(f"[{waiting[place] + 1}/{len(wanted)}] {wanted[waiting[place]].name}")

    def done(place: int, made: Made | str) -> None:
        number = waiting[place]
        if isinstance(made, str):
            failed[wanted[number].name] = made
        else:
            _write(made, targets[number])

    tasks = [wanted[number] for number in waiting]
    make_all(tasks, options.scheduler, say, begins, done)
    return failed


def _wanted(options: argparse.Namespace, names: Sequence[str]) -> list[Wanted]:
    """What is to be made of the functions or modules, in order."""
    from mallocgame.xla.compile.compiler import Function
    from mallocgame.xla.loading import given_module
    from mallocgame.xla.make.wanted import StableHlo, Wanted

    capacity = None if options.capacity is None else options.capacity * MIB
    several, found = len(names) > 1, []
    for name, source in zip(names, options.jax or options.stablehlo, strict=True):
        if options.jax:
            what: Function | StableHlo = Function(source, options.args)
        else:
            what = StableHlo(given_module(source)[0], source.name)
        work = options.work / name if options.work and several else options.work
        found.append(Wanted(name, what, options.chip, capacity, work, options.timeout))
    return found


def _write(made: Made, target: Path) -> None:
    from mallocgame.judge import verify
    from mallocgame.program import save_program
    from mallocgame.program.mapping import save_mapping
    from mallocgame.suites import save_module
    from mallocgame.xla.make.build import production_error

    program, mapping = made.item.program, made.item.mapping
    beside = target.with_name(_name_of(target) + PRODUCTION[0])
    save_mapping(mapping, beside)
    save_program(program, target)
    save_module(made.module, target)
    say(f"{target}: {len(program.instructions)} instructions, {len(program.values)} values")
    say(f"{beside}: {len(verify(program, mapping))} violations, {len(made.item.notes)} notes")
    say(f"  {made.reason}")
    say(f"  production's cycles are {production_error(made):+.2%} off the compiler's estimate")


def _name_of(target: Path) -> str:
    """A program's name, which is that of its file."""
    for ending in PROGRAM_ENDINGS:
        if target.name.endswith(ending) and target.name != ending:
            return target.name[: -len(ending)]
    raise InputError(f"--out: must end in {PROGRAM_ENDINGS[0]}, got {target}")


def _default_name(source: str | Path) -> str:
    """What a function or a module is called in a folder."""
    return file_name(source.stem if isinstance(source, Path) else source.rpartition(":")[2])


def _import_dumps(options: argparse.Namespace) -> int:
    from mallocgame.xla.make.importer import import_dump
    from mallocgame.xla.make.write import fit_lines, write_import

    machine = machine_by_name(options.machine)
    for dump in options.dump:
        imported = import_dump(dump, machine)
        write_import(imported, options.out)
        for line in fit_lines(imported):
            say(line)
    return 0
