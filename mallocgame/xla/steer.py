"""Commands that hand a mapping to the compiler: ``export`` and ``roundtrip``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from mallocgame.jsonfile import InputError
from mallocgame.mapping import load_mapping, save_mapping
from mallocgame.program import Program, load_program
from mallocgame.suites import load_production
from mallocgame.xla.chips import CHIPS, Chip
from mallocgame.xla.compiler import DEFAULT_TIMEOUT_S, require_libtpu
from mallocgame.xla.export import compiler_options
from mallocgame.xla.roundtrip import round_trip

Command = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def add_commands(command: Command) -> None:
    """Adds both commands; `command(name, run, help)` makes a parser."""
    export = command("export", _export, "a mapping as compiler_options for jax's compile")
    export.add_argument("-o", "--out", type=Path, help="JSON file; without it, standard output")
    again = command("roundtrip", _roundtrip, "compiles with a mapping and reads back what came")
    again.add_argument("--work", type=Path, required=True, help="the program's compiles, as kept")
    again.add_argument("-o", "--out", type=Path, help="what the compiler did, as a mapping")
    again.add_argument(
        "--timeout", type=float, default=DEFAULT_TIMEOUT_S, metavar="S", help="for the compile"
    )
    for parser in (export, again):
        parser.add_argument("program", type=Path)
        parser.add_argument("mapping", type=Path, help="of the program, from any mapper")


def chip_of(program: Program) -> Chip:
    """The chip whose machine the program is for.

    Raises:
      InputError: the compiler knows no such chip.
    """
    for chip in CHIPS.values():
        if chip.machine_name == program.machine.name:
            return chip
    raise InputError(
        f"{program.name}: machine.name: {program.machine.name!r} is no chip of the compiler's; "
        f"it knows {', '.join(chip.machine_name for chip in CHIPS.values())}"
    )


def _export(options: argparse.Namespace) -> int:
    program = load_program(options.program)
    mapping = load_mapping(options.mapping, program)
    text = json.dumps(compiler_options(program, mapping, chip_of(program)), indent=1) + "\n"
    if options.out is None:
        print(text, end="")
    elif options.out.exists():
        raise InputError(f"{options.out}: is there already; choose another name")
    else:
        options.out.write_text(text)
    return 0


def _roundtrip(options: argparse.Namespace) -> int:
    require_libtpu()
    program = load_program(options.program)
    mapping = load_mapping(options.mapping, program)
    production = load_production(options.program, program)
    if production is None:
        raise InputError(f"{options.program}: production's mapping is not beside it")
    trip = round_trip(program, mapping, production, options.work, chip_of(program), options.timeout)
    if options.out is not None:
        save_mapping(trip.mapping, options.out)
    print(f"{program.name}: the compiler followed {trip.followed:.1%} of the bytes x slots in fast")
    print(f"memory; {trip.beyond:.1%} of what it has there is its own choice")
    print("                        production    this mapping")
    print(
        f"  estimated cycles    {trip.cycles_production:12,}    {trip.cycles:12,} {trip.gain:+.2%}"
    )
    print(
        f"  simulated, saved    {trip.saved_production:12.2%}    {trip.saved:12.2%}"
        f" (wanted {trip.saved_wanted:.2%}), {trip.violations} violations"
    )
    return 0
