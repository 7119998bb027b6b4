"""Reads a dump folder: HLO with memory space assignment off and on, and MSA's own account.

A folder holds ``msa_off.hlo.gz`` and one compile with assignment on.  Each sub-folder
``capacity_N_kib`` holds a compile of the same program with N KiB of fast memory.  A compile is
``msa_on.hlo.gz``, ``bufferinfo.csv``, ``allocinfo.csv`` and ``scheduleinfo.csv`` (formats:
openxla's ``memory_space_assignment/algorithm.cc``).  Sub-folders ``probe_NAME`` hold only the
``msa_on.hlo.gz`` of compiles that were told where to put what, for the latency fit.
``provenance.json``, if present, says how all that was made.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gamekit.errors import InputError
from gamekit.files import read_text
from gamekit.jsonfile import read_object
from mallocgame.xla.read.hlo import HloModule, parse_module
from mallocgame.xla.read.wellformed import check_module

BUFFER_COLUMNS = (
    "buffer_id", "buffer_name", "alt_mem_benefit", "size", "definition_time", "use_times",
    "use_names", "is_scoped",
)  # fmt: skip
ALLOCATION_COLUMNS = ("buffer_id", "size", "offset", "start_time", "end_time")
SCHEDULE_COLUMNS = ("time", "instruction_name")
LARGEST_INTEGER = 2**31 - 1

_BUFFER_NAME = re.compile(r"<\d+ ([\w.\-]+)(?:\{([\d,]+)\})?(?: @\d+)?>")
# Kernels' scratch, if it shares the assignment's memory; its rows have negative numbers.
_SCRATCH_NAME = re.compile(r"scoped allocation for ([\w.\-]+)")
_CAPACITY_FOLDER = re.compile(r"capacity_(\d+)_kib")


@dataclass(frozen=True)
class BufferRow:
    """One buffer that MSA considered; ``instruction`` and ``index`` are its defining position."""

    buffer_id: int
    instruction: str
    index: tuple[int, ...]
    size_bytes: int
    definition_time: int
    use_times: tuple[int, ...]
    is_scoped: bool


@dataclass(frozen=True)
class AllocationRow:
    """One stay of a buffer, or of a slice of it, in fast memory; both times are inclusive."""

    buffer_id: int
    size_bytes: int
    offset: int
    start_time: int
    end_time: int


@dataclass(frozen=True)
class Compile:
    """One compile with assignment on.

    capacity_bytes: None for the compiler's default.
    buffers: by number.
    schedule: instruction names by schedule time.
    scratch: instruction name -> bytes of fast memory, from offset 0, that its kernel takes.
    """

    folder: Path
    capacity_bytes: int | None
    module: HloModule
    buffers: dict[int, BufferRow]
    allocations: tuple[AllocationRow, ...]
    schedule: tuple[str, ...]
    scratch: dict[str, int]


@dataclass(frozen=True)
class Dump:
    """A program's dump.

    base: the module without assignment.
    compiles: all compiles with assignment, largest capacity first.
    probes: modules of compiles that only the latency fit uses.
    provenance: how the dump was made.
    """

    folder: Path
    base: HloModule
    compiles: tuple[Compile, ...]
    probes: tuple[HloModule, ...]
    provenance: dict[str, Any]


def read_dump(folder: Path) -> Dump:
    """Reads a dump folder.

    Raises:
      InputError: a file is missing, truncated or garbled; the line names file, field and value.
    """
    base = read_hlo(folder / "msa_off.hlo.gz")
    compiles = [read_compile(folder, None)]
    for path in sorted(folder.glob("capacity_*")):
        found = _CAPACITY_FOLDER.fullmatch(path.name)
        if not found or not 0 < int(found.group(1)) <= LARGEST_INTEGER // 1024:
            raise InputError(f"{path}: folder name: must be capacity_N_kib, got {path.name!r}")
        compiles.append(read_compile(path, int(found.group(1)) * 1024))
    compiles[1:] = sorted(compiles[1:], key=lambda c: -(c.capacity_bytes or 0))
    probes = [read_hlo(path / "msa_on.hlo.gz") for path in sorted(folder.glob("probe_*"))]
    return Dump(folder, base, tuple(compiles), tuple(probes), _provenance(folder))


def _provenance(folder: Path) -> dict[str, Any]:
    path = folder / "provenance.json"
    if not path.exists():
        return {}
    return read_object(path)


def read_compile(folder: Path, capacity_bytes: int | None) -> Compile:
    """Reads one compile with assignment on.

    Raises:
      InputError: as `read_dump`.
    """
    schedule = read_schedule(folder / "scheduleinfo.csv")
    buffers = read_buffers(folder / "bufferinfo.csv", len(schedule))
    return Compile(
        folder=folder,
        capacity_bytes=capacity_bytes,
        module=read_hlo(folder / "msa_on.hlo.gz"),
        buffers=buffers,
        allocations=read_allocations(folder / "allocinfo.csv", buffers, len(schedule)),
        schedule=schedule,
        scratch=read_scratch(folder / "bufferinfo.csv", folder / "allocinfo.csv"),
    )


def read_hlo(path: Path) -> HloModule:
    """The module in a gzipped HLO file."""
    module = parse_module(read_text(path), str(path))
    check_module(module, str(path))
    return module


def _rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a CSV file with exactly these columns."""
    reader = csv.reader(read_text(path).splitlines(), strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        header = next(reader, [])
        if tuple(header) != columns:
            raise InputError(f"{path}: line 1: columns: must be {','.join(columns)}, "
                             f"got {_short(','.join(header))}")  # fmt: skip
        for cells in reader:
            if len(cells) != len(columns):
                raise InputError(
                    f"{path}: line {reader.line_num}: must have {len(columns)} fields, "
                    f"got {len(cells)}: {_short(','.join(cells))}"
                )
            rows.append((reader.line_num, dict(zip(columns, cells, strict=True))))
    except csv.Error as error:
        raise InputError(
            f"{path}: line {reader.line_num}: must be valid CSV, got: {error}"
        ) from None
    return rows


def _is_scratch(row: dict[str, str]) -> bool:
    return row["buffer_id"].startswith("-")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _integer(path: Path, line: int, field: str, text: str, low: int, high: int) -> int:
    """The integer of a field, which must be in [low, high)."""
    if not re.fullmatch(r"-?[0-9]{1,12}", text) or not low <= int(text) < high:
        raise InputError(
            f"{path}: line {line}: {field}: must be an integer in [{low}, {high}), "
            f"got {_short(text)}"
        )
    return int(text)


def read_schedule(path: Path) -> tuple[str, ...]:
    """Instruction names by schedule time."""
    names: list[str] = []
    seen: set[str] = set()
    for line, row in _rows(path, SCHEDULE_COLUMNS):
        time = _integer(path, line, "time", row["time"], 0, LARGEST_INTEGER)
        if time != len(names):
            raise InputError(f"{path}: line {line}: time: must be {len(names)}, got {time}")
        name = row["instruction_name"]
        if name in seen:
            raise InputError(f"{path}: line {line}: instruction_name: repeats {_short(name)}")
        seen.add(name)
        names.append(name)
    if not names:
        raise InputError(f"{path}: time: must have at least one row, got none")
    return tuple(names)


def read_buffers(path: Path, times: int) -> dict[int, BufferRow]:
    """The buffers by number; a row that is repeated (MSA's retries) must be the same."""
    buffers: dict[int, BufferRow] = {}
    for line, row in _rows(path, BUFFER_COLUMNS):
        if _is_scratch(row):
            continue
        number = _integer(path, line, "buffer_id", row["buffer_id"], 0, LARGEST_INTEGER)
        found = _BUFFER_NAME.fullmatch(row["buffer_name"])
        if not found:
            raise InputError(
                f"{path}: line {line}: buffer_name: must be '<number name>' or "
                f"'<number name{{index}}>', got {_short(row['buffer_name'])}"
            )
        uses = [u for u in row["use_times"].split(";") if u]
        buffer = BufferRow(
            buffer_id=number,
            instruction=found.group(1),
            index=tuple(int(i) for i in (found.group(2) or "").split(",") if i),
            size_bytes=_integer(path, line, "size", row["size"], 0, LARGEST_INTEGER),
            definition_time=_integer(
                path, line, "definition_time", row["definition_time"], 0, times
            ),
            use_times=tuple(_integer(path, line, "use_times", u, 0, times) for u in uses),
            is_scoped=bool(_integer(path, line, "is_scoped", row["is_scoped"], 0, 2)),
        )
        if buffers.setdefault(number, buffer) != buffer:
            raise InputError(f"{path}: line {line}: buffer_id: {number} must equal its earlier row")
    return buffers


def read_allocations(
    path: Path, buffers: dict[int, BufferRow], times: int
) -> tuple[AllocationRow, ...]:
    """The allocations by buffer and start time, without repetitions."""
    allocations: set[AllocationRow] = set()
    for line, row in _rows(path, ALLOCATION_COLUMNS):
        if _is_scratch(row):
            continue
        number, size, offset = (
            _integer(path, line, field, row[field], 0, LARGEST_INTEGER)
            for field in ("buffer_id", "size", "offset")
        )
        start = _integer(path, line, "start_time", row["start_time"], 0, times)
        end = _integer(path, line, "end_time", row["end_time"], 0, times)
        if end < start:
            raise InputError(f"{path}: line {line}: end_time: must be at least {start}, got {end}")
        if number not in buffers:
            raise InputError(
                f"{path}: line {line}: buffer_id: must be in bufferinfo.csv, got {number}"
            )
        if size > buffers[number].size_bytes:
            raise InputError(
                f"{path}: line {line}: size: must be at most the buffer's "
                f"{buffers[number].size_bytes}, got {size}"
            )
        allocations.add(AllocationRow(number, size, offset, start, end))
    return tuple(sorted(allocations, key=lambda a: (a.buffer_id, a.start_time, a.end_time)))


def read_scratch(buffers: Path, allocations: Path) -> dict[str, int]:
    """Bytes from offset 0 that kernels take for themselves, by instruction.

    Chips that keep a separate region for that have no such rows.
    """
    owners: dict[str, str] = {}
    for line, row in _rows(buffers, BUFFER_COLUMNS):
        if _is_scratch(row):
            found = _SCRATCH_NAME.fullmatch(row["buffer_name"])
            if not found:
                raise InputError(
                    f"{buffers}: line {line}: buffer_name: must be 'scoped allocation for NAME' of "
                    f"{row['buffer_id']}, got {_short(row['buffer_name'])}"
                )
            owners[row["buffer_id"]] = found.group(1)
    scratch: dict[str, int] = {}
    for line, row in _rows(allocations, ALLOCATION_COLUMNS):
        if _is_scratch(row):
            if row["buffer_id"] not in owners:
                raise InputError(
                    f"{allocations}: line {line}: buffer_id: must be in {buffers.name}, "
                    f"got {row['buffer_id']}"
                )
            size, offset = (
                _integer(allocations, line, field, row[field], 0, LARGEST_INTEGER)
                for field in ("size", "offset")
            )
            owner = owners[row["buffer_id"]]
            scratch[owner] = max(scratch.get(owner, 0), offset + size)
    return scratch
