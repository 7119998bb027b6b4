"""Hands a mapping to the compiler: the commands ``export`` and ``roundtrip``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from gamekit.errors import InputError
from gamekit.jsonfile import write_json
from gamekit.text import say, shown
from mallocgame.program import Program, load_program
from mallocgame.program.mapping import Mapping, load_mapping, save_mapping
from mallocgame.suites import find_program, load_production
from mallocgame.xla.compile.compiler import DEFAULT_TIMEOUT_S, require_libtpu
from mallocgame.xla.read.chips import CHIPS, Chip, Options
from mallocgame.xla.steer.bufferinfo import buffer_benefits
from mallocgame.xla.steer.export import LEVERS, compiler_options
from mallocgame.xla.steer.in_the_loop import CompilerSearch, begin, search
from mallocgame.xla.steer.roundtrip import CompilerBench, RoundTrip, read_back


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `export`."""
    parser.add_argument("-o", "--out", type=Path, help="JSON file; default standard output")
    _add_files(parser)


def add_roundtrip_arguments(again: argparse.ArgumentParser) -> None:
    """The arguments of `roundtrip`."""
    again.add_argument(
        "--work", type=Path, required=True, help="folder that keeps the program's compiles"
    )
    again.add_argument(
        "-o", "--out", type=Path, metavar="FOLDER",
        help="for options.json, roundtrip.json, done.mapping.json.gz and search.json",
    )  # fmt: skip
    again.add_argument(
        "--timeout", type=float, default=DEFAULT_TIMEOUT_S, metavar="S", help="for each compile"
    )
    again.add_argument(
        "--search", type=float, metavar="S",
        help="seconds to try other orders in the compiler; continues the search in -o FOLDER",
    )  # fmt: skip
    again.add_argument(
        "--from", dest="begin", choices=("mapping", "production"), default="mapping",
        help="where the search starts: the exported mapping, or production's own order",
    )  # fmt: skip
    again.add_argument("--seed", type=int, default=0, help="of the search, default 0")
    _add_files(again)


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--levers", choices=LEVERS, default="public",
        help="all: also an option without public documentation; default public",
    )  # fmt: skip
    parser.add_argument("program", help="a suite's program, or a file")
    parser.add_argument("mapping", type=Path, help="mapping of the program, from any mapper")


def chip_of(program: Program) -> Chip:
    """The chip whose machine the program is for.

    Raises:
      InputError: the compiler knows no such chip.
    """
    for chip in CHIPS.values():
        if chip.machine_name == program.machine.name:
            return chip
    raise InputError(
        f"{program.name}: machine.name: must be one of "
        f"{', '.join(chip.machine_name for chip in CHIPS.values())}, got {program.machine.name!r}"
    )


def trip_lines(trip: RoundTrip) -> list[str]:
    """A round trip as text."""
    before, wanted, after = trip.production, trip.wanted, trip.done
    return [
        f"{trip.program}: the compiler followed {trip.followed:.1%} of the bytes x slots in fast "
        f"memory and {trip.followed_reads:.1%} of the bytes accessed there;",
        f"{trip.beyond:.1%} of what it has there is its own choice; {trip.violations} violations",
        "                            production      wanted   compiled",
        f"  estimated cycles        {before.cycles or 0:14,}           - {after.cycles or 0:10,}"
        f"  {trip.gain:+.2%}",
        f"  simulated latency, us   {before.latency_s * 1e6:14,.1f} {wanted.latency_s * 1e6:11,.1f}"
        f" {after.latency_s * 1e6:10,.1f}  {trip.simulated_gain:+.2%}",
        f"    of it stalls, us      {before.stall_s * 1e6:14,.1f} {wanted.stall_s * 1e6:11,.1f}"
        f" {after.stall_s * 1e6:10,.1f}",
        f"  saved of all-slow       {before.saved:14.2%} {wanted.saved:11.2%} {after.saved:10.2%}",
        f"  benefit by MSA, us      {before.benefit_s * 1e6:14,.1f} {wanted.benefit_s * 1e6:11,.1f}"
        f" {after.benefit_s * 1e6:10,.1f}",
    ]


def export(options: argparse.Namespace) -> int:
    """Writes a mapping as options for the compiler."""
    program = load_program(find_program(options.program))
    mapping = load_mapping(options.mapping, program)
    text = (
        json.dumps(compiler_options(program, mapping, chip_of(program), options.levers), indent=1)
        + "\n"
    )
    if options.out is None:
        sys.stdout.write(text)
    elif options.out.exists():
        raise InputError(f"{options.out}: already exists; choose another name")
    else:
        options.out.write_text(text)
    return 0


def roundtrip(options: argparse.Namespace) -> int:
    """Compiles with a mapping, and says what the compiler made of it."""
    require_libtpu()
    path = find_program(options.program)
    program = load_program(path)
    mapping = load_mapping(options.mapping, program)
    production = load_production(path, program)
    if production is None:
        raise InputError(f"{path}: must have production's mapping beside it")
    if options.search is not None:
        if not 0 < options.search < float("inf"):
            raise InputError(
                f"--search: must be a positive number of seconds, got {options.search}"
            )
        if options.out is None:
            raise InputError("--search: needs -o FOLDER to keep its state")
    bench = CompilerBench(program, options.work, chip_of(program), options.timeout)
    bench.check()
    exported = compiler_options(program, mapping, bench.chip, options.levers)
    if options.search is not None:
        exported = _search(options, bench, None if options.begin == "production" else mapping)
    trip = read_back(bench, exported, mapping, production)
    for line in trip_lines(trip):
        say(line)
    if options.out is not None:
        write_json(options.out / "options.json", dict(exported))
        write_json(options.out / "roundtrip.json", trip.record())
        save_mapping(trip.mapping, options.out / "done.mapping.json.gz")
    return 0


def _search(options: argparse.Namespace, bench: CompilerBench, mapping: Mapping | None) -> Options:
    path = options.out / "search.json"
    benefits = buffer_benefits(bench.program, bench.account(), bench.work)
    state = begin(bench, mapping, benefits, options.seed, path, options.levers)
    if state.compiles:
        say(f"{path}: continues after {state.compiles} compiles")
    state = search(bench, state, benefits, options.search, path, _progress)
    say(state.line())
    return state.options(bench)


def _progress(state: CompilerSearch, is_better: bool) -> None:
    """Prints a line that the next one overwrites; into a file only improvements."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r{shown(state.line())}" + ("\n" if is_better else ""))
        sys.stdout.flush()
    elif is_better:
        say(state.line())
