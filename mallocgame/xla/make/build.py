"""Builds a suite from a list of programs: one after the other, resumable, with an index.

The list is YAML, with the fields of `SuiteEntry`.  A program that fails does not stop the others:
the index, ``suite.json``, holds its reason beside the figures of the programs that were made.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gamekit.errors import InputError
from gamekit.files import read_text, write_text
from gamekit.jsonfile import read_json
from gamekit.text import file_name, say
from mallocgame.judge import simulate, verify
from mallocgame.program import save_program
from mallocgame.program.mapping import save_mapping
from mallocgame.promise import latency_error
from mallocgame.xla.compile.compiler import Function
from mallocgame.xla.compile.workfolder import Progress
from mallocgame.xla.make.driver import Made
from mallocgame.xla.make.wanted import Wanted, make_all
from mallocgame.xla.make.write import PRODUCTION_SUFFIX, PROGRAM_SUFFIX
from mallocgame.xla.read.chips import chip_by_name

SPLITS = ("train", "validation", "test")
REQUIRED = ("name", "function", "family", "split", "source")
# A program is left out of a suite if production's cycles are reproduced worse than this.
LARGEST_ERROR = 0.03
INDEX, INDEX_FORMAT, INDEX_VERSION = "suite.json", "mallocgame.suite", 1


@dataclass(frozen=True)
class SuiteEntry:
    """One program of a list.

    function: ``package.module:factory``, called with `arguments`; it returns a `Workload`.
    family, split: programs of one family belong to one split.
    source: where the model comes from; note: what it adds to the suite.
    """

    name: str
    function: str
    family: str
    split: str
    source: str
    note: str = ""
    chip: str = "v4"
    arguments: Mapping[str, Any] = field(default_factory=dict)


def read_list(path: Path) -> list[SuiteEntry]:
    """Reads a list of programs.

    Raises:
      InputError: names the file, the entry, the field and the offending value.
    """
    text = read_text(path)
    try:
        rows = yaml.safe_load(text)
    except (RecursionError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(rows, list):
        raise InputError(f"{path}: must be a list of programs, got {type(rows).__name__}")
    entries = [_entry(row, f"{path}: [{number}]") for number, row in enumerate(rows)]
    _check(entries, path)
    return entries


def _entry(row: Any, where: str) -> SuiteEntry:
    if not isinstance(row, dict):
        raise InputError(f"{where}: must be an object, got {type(row).__name__}")
    known = {f.name: f for f in dataclasses.fields(SuiteEntry)}
    for key, value in row.items():
        kind = dict if key == "arguments" else str
        if key not in known:
            raise InputError(f"{where}: must have the fields {', '.join(known)}, got {key!r}")
        if not isinstance(value, kind):
            raise InputError(f"{where}: {key}: must be a {kind.__name__}, got {value!r}")
    missing = [name for name in REQUIRED if name not in row]
    if missing:
        raise InputError(f"{where}: {missing[0]}: is missing")
    if file_name(row["name"]) != row["name"]:
        raise InputError(f"{where}: name: must be able to name a file, got {row['name']!r}")
    if row["split"] not in SPLITS:
        raise InputError(
            f"{where}: split: must be one of {', '.join(SPLITS)}, got {row['split']!r}"
        )
    chip_by_name(row.get("chip", "v4"))
    return SuiteEntry(**row)


def _check(entries: Sequence[SuiteEntry], path: Path) -> None:
    """Checks that names are unique, and that no family is in two splits."""
    names: set[str] = set()
    splits: dict[str, str] = {}
    for entry in entries:
        if entry.name in names:
            raise InputError(f"{path}: name: must be unique, got {entry.name!r} twice")
        names.add(entry.name)
        if splits.setdefault(entry.family, entry.split) != entry.split:
            raise InputError(f"{path}: family: must be in one split, got {entry.family!r} in two")


def build_suite(
    entries: Sequence[SuiteEntry],
    out: Path,
    work: Path | None,
    timeout_s: float,
    progress: Progress = say,
    scheduler: str | None = None,
) -> dict[str, str]:
    """Makes every program that the index does not yet hold; returns failures, name to reason.

    Args:
      work: folder for the compiles of all programs where they are made; None for temporary ones.
      scheduler: address of a Dask scheduler whose workers compile; None to compile here.
    """
    index = read_index(out)
    waiting = [entry for entry in entries if not _is_made(entry, index, out)]
    numbers = {entry.name: number for number, entry in enumerate(entries, 1)}
    started = time.monotonic()

    def begins(number: int) -> None:
        nonlocal started
        started = time.monotonic()
        progress(f"[{numbers[waiting[number].name]}/{len(entries)}] {waiting[number].name}")

    def done(number: int, made: Made | str) -> None:
        entry = waiting[number]
        _enter(entry, made, index, out, work)
        write_index(index, out)
        seconds = "" if scheduler else f" ({time.monotonic() - started:.0f} s in all)"
        failed = index["failed"].get(entry.name)
        progress(
            f"{entry.name}: failed: {failed}"
            if failed
            else f"{entry.name}: {index['programs'][entry.name]['reason']}{seconds}"
        )

    wanted = [_wanted(entry, work, timeout_s) for entry in waiting]
    make_all(wanted, scheduler, progress, begins, done)
    asked = {entry.name for entry in entries}
    return {name: reason for name, reason in index["failed"].items() if name in asked}


def _is_made(entry: SuiteEntry, index: dict[str, Any], out: Path) -> bool:
    row = index["programs"].get(entry.name)
    return bool(row) and row["entry"] == dataclasses.asdict(entry) and _is_there(out, entry.name)


def _wanted(entry: SuiteEntry, work: Path | None, timeout_s: float) -> Wanted:
    function = Function(entry.function, None, entry.arguments)
    folder = work / entry.name if work else None
    return Wanted(entry.name, function, entry.chip, None, folder, timeout_s)


def _enter(
    entry: SuiteEntry, made: Made | str, index: dict[str, Any], out: Path, work: Path | None
) -> None:
    """Writes a program, and what the index says of it or of its failure."""
    index["failed"].pop(entry.name, None)
    index["programs"].pop(entry.name, None)
    try:
        if isinstance(made, str):
            raise InputError(made)
        _check_cycles(made)
    except InputError as error:
        index["failed"][entry.name] = str(error).replace(str(work), "WORK")
        return
    program, mapping = _files(out, entry.name)
    save_program(made.item.program, program)
    save_mapping(made.item.mapping, mapping)
    index["programs"][entry.name] = _row(entry, made)


def _check_cycles(made: Made) -> None:
    """Refuses a program whose production mapping takes another time than the compiler says."""
    error = production_error(made)
    if abs(error) > LARGEST_ERROR:
        raise InputError(
            f"production's cycles come out {error:+.1%} off: the rules cannot express the "
            "estimates of some instructions"
        )


def _files(out: Path, name: str) -> tuple[Path, Path]:
    return out / f"{name}{PROGRAM_SUFFIX}", out / f"{name}{PRODUCTION_SUFFIX}"


def _is_there(out: Path, name: str) -> bool:
    return all(path.is_file() for path in _files(out, name))


def _row(entry: SuiteEntry, made: Made) -> dict[str, Any]:
    """A program's row of the index."""
    program, calibration = made.item.program, made.calibration
    kinds = sorted({violation.kind for violation in verify(program, made.item.mapping)})
    held_out = [h for h in calibration.held_out if h is not None]
    return {
        "entry": dataclasses.asdict(entry),
        "capacity_mib": program.machine.fast_capacity_bytes >> 20,
        "reason": made.reason,
        "instructions": len(program.instructions),
        "values": len(program.values),
        "accesses": len(program.accesses),
        "loops": len(program.loops),
        "value_mb": round(sum(v.size_bytes for v in program.values) / 1e6, 1),
        "pressure": round(made.contest.pressure, 3),
        "saved": round(made.contest.saved, 5),
        "bound": round(made.contest.bound, 5),
        "cycles_off": program.provenance["all_slow_cycles"],
        "cycles_on": made.item.cycles,
        "production_error": round(production_error(made), 5),
        "held_out_errors": [round(h.total, 5) for h in held_out],
        "held_out_medians": [round(h.median, 5) for h in held_out],
        "fit_error": round(max(map(abs, calibration.total_errors)), 5),
        "violations": kinds,
        "notes": len(made.item.notes),
        "left_out": len(program.provenance["left_out"]),
    }


def production_error(made: Made) -> float:
    """Relative error of production's simulated cycles, each loop body once, without stalls."""
    program = made.item.program
    return latency_error(program, simulate(program, made.item.mapping)) or 0.0


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a suite; empty if there is none.

    Raises:
      InputError: the file is not an index.
    """
    if not (folder / INDEX).exists():
        return {"format": INDEX_FORMAT, "version": INDEX_VERSION, "programs": {}, "failed": {}}
    return read_json(folder / INDEX, INDEX_FORMAT, INDEX_VERSION)


def write_index(index: dict[str, Any], folder: Path) -> None:
    """Writes the index in a readable form, ordered by name."""
    for part in ("programs", "failed"):
        index[part] = dict(sorted(index[part].items()))
    write_text(folder / INDEX, json.dumps(index, indent=1) + "\n")
