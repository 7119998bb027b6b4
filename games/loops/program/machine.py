"""The constants of the cost model, fitted on one machine (docs/loops.md, section 5)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

from gamekit.errors import InputError
from gamekit.jsonfile import Record, read_json, write_json

FORMAT, VERSION = "loops.machine", 1
FILE = Path(__file__).with_name("machine.json")
# Nanoseconds each: of a vector's multiply and add; a load or store; a link of a chain of sums; a
# block; an element that is gathered; a vector of a register tile that is loaded and stored; an
# update of a spilled one; a horizontal sum; an iteration of an outer loop; a vector of the result
# that is written; an element where it is written one by one; a line from the second cache, and from
# the third.
CONSTANTS = (
    *("fma", "access", "chain", "forward"),
    *("block", "gather", "tile", "spill", "horizontal", "loop"),
    *("write", "scatter", "line_l2", "line_l3"),
)


@dataclasses.dataclass(frozen=True)
class Machine:
    """name: processor and compiler. caches: bytes of the first and the second one. constants:
    nanoseconds, in the order of `CONSTANTS`. fitted_on: nests."""

    name: str
    caches: tuple[int, int]
    constants: tuple[float, ...]
    fitted_on: int


def load_machine(path: Path) -> Machine:
    """Reads the constants of a machine.

    Raises:
      InputError: the file is none of constants.
    """
    record = Record(read_json(path, FORMAT, VERSION), str(path))
    fields = record.record("constants")
    constants = tuple(fields.number(name) for name in CONSTANTS)
    caches = record.integers("caches")
    if len(caches) != 2 or not 0 < caches[0] <= caches[1]:
        raise InputError(f"{path}: caches: must be two sizes in bytes, the smaller one first")
    for name, value in zip(CONSTANTS, constants, strict=True):
        if not 0 < value < 1e6:
            raise InputError(f"{path}: constants.{name}: must be in (0, 1e6) ns, got {value}")
    return Machine(
        record.string("machine"), (caches[0], caches[1]), constants, record.integer("fitted_on")
    )


def save_machine(machine: Machine, path: Path, command: Sequence[str], commit: str) -> None:
    """Writes the constants of a machine, and how they were found.

    Raises:
      InputError: the file cannot be written.
    """
    constants = {
        name: float(f"{value:.6g}")
        for name, value in zip(CONSTANTS, machine.constants, strict=True)
    }
    record = {
        "format": FORMAT,
        "version": VERSION,
        "machine": machine.name,
        "command": list(command),
        "commit": commit,
        "fitted_on": machine.fitted_on,
        "caches": list(machine.caches),
        "constants": constants,
    }
    write_json(path, record)


@functools.cache
def machine() -> Machine:
    """The machine on which the game plays."""
    return load_machine(FILE)
