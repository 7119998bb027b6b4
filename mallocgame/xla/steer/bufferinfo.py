"""What a mapping is worth by memory space assignment's own account, ``bufferinfo.csv``.

The account's column ``alt_mem_benefit`` determines the order of the buffers: the seconds that the
compiler expects to save with the buffer in fast memory, over the square root of its size
(``MemoryBoundednessBufferIntervalCompare`` in openxla's memory_space_assignment).  Production
optimises these seconds, not its estimated cycles and not our latency, so they are a third witness.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping as MappingABC
from pathlib import Path

from gamekit.errors import InputError
from mallocgame.judge.reading import Reading
from mallocgame.program import Program
from mallocgame.program.levels import Levels
from mallocgame.program.mapping import Mapping
from mallocgame.xla.read.dump import read_buffers, read_hlo, read_schedule
from mallocgame.xla.read.graph import build_graph

TRIPS = 5.0  # executions of a loop body that the account assumes


def buffer_benefits(program: Program, account: Path, base: Path) -> dict[int, float]:
    """Seconds that the compiler expects to save with a value in fast memory for all its accesses.

    Values that a loop carries into one another share one row, which is the first value's.

    Args:
      account: folder with ``bufferinfo.csv`` and ``scheduleinfo.csv``.
      base: folder with ``msa_off.hlo.gz``, which says which positions are one value.

    Raises:
      InputError: a file is missing or garbled; the line names file, line and field.
    """
    path = account / "bufferinfo.csv"
    buffers = read_buffers(path, len(read_schedule(account / "scheduleinfo.csv")))
    source = base / "msa_off.hlo.gz"
    graph = build_graph(read_hlo(source), str(source))
    number = {value.name: v for v, value in enumerate(program.values)}
    found: dict[int, float] = {}
    for buffer_id, benefit in _column(path).items():
        buffer = buffers[buffer_id]
        raw = graph.positions.get(buffer.instruction, {}).get(buffer.index)
        value = None if raw is None else number.get(graph.values[graph.find(raw)].name)
        if value is not None and not buffer.is_scoped:
            found.setdefault(value, benefit * math.sqrt(buffer.size_bytes))
    return found


def benefit_s(program: Program, mapping: Mapping, benefits: MappingABC[int, float]) -> float:
    """Seconds of benefit of what a mapping has in fast memory, by the compiler's account.

    A row is about a whole buffer.  If only some of its accesses are in fast memory, their share of
    the bytes counts; in loops each level counts `TRIPS` times, as in the account.  A buffer with
    negative benefit, by which the compiler expects to lose, counts as such.

    Args:
      benefits: of `buffer_benefits`.
    """
    family = _families(program)
    levels = Levels(program)
    total: dict[int, float] = defaultdict(float)
    fast: dict[int, float] = defaultdict(float)
    served = Reading(program, mapping).served_fast()
    for access, is_fast in zip(program.accesses, served, strict=True):
        size = access.bytes * TRIPS ** len(levels.around(access.instruction))
        total[family[access.value]] += size
        fast[family[access.value]] += size if is_fast else 0.0
    rows: dict[int, float] = {}
    for value, seconds in benefits.items():
        rows.setdefault(family[value], seconds)
    return math.fsum(s * fast[v] / total[v] for v, s in rows.items() if total[v])


def _column(path: Path) -> dict[int, float]:
    """``alt_mem_benefit`` by buffer; the rows have been checked by `read_buffers`."""
    benefits: dict[int, float] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            text = row["alt_mem_benefit"]
            try:
                benefit = float(text)
            except ValueError:
                benefit = math.nan
            if not math.isfinite(benefit):
                raise InputError(
                    f"{path}: alt_mem_benefit: must be a number, got {text!r} "
                    f"of buffer {row['buffer_id']}"
                )
            benefits.setdefault(int(row["buffer_id"]), benefit)
    return benefits


def _families(program: Program) -> list[int]:
    """For each value the least number among the values that loops tie it to: [V]."""
    family = list(range(len(program.values)))
    for _ in program.carried:
        for group in program.carried:
            least = min(family[group.parameter], family[group.result])
            family[group.parameter] = family[group.result] = least
    return family
