"""The one latency formula of the project: the game, the judge and every mapper use these functions.

Everything is elementwise and takes Python numbers, NumPy or JAX arrays, floats (seconds) or
integers (ticks); `xp` is the array namespace, `numpy` or `jax.numpy`.  docs/game.md, section 1.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from mallocgame.program.program import Program


def elapsed_time(compute: Any, read: Any, write: Any, xp: ModuleType | Any = np) -> Any:
    """Time of an instruction that computes, reads and writes at once: the largest of the three.

    compute, read, write: times in one unit, `read` and `write` with the fixed traffic; any shapes
    that broadcast.
    """
    return xp.maximum(compute, xp.maximum(read, write))


def supply_time(elapsed: Any, slow_bus: Any, xp: ModuleType | Any = np) -> Any:
    """Time of an instruction in which copies may use the slow memory's bus: what it leaves idle.

    elapsed: the instruction's time without stalls.
    slow_bus: physical bytes of the instruction's own slow-memory traffic over the slow bandwidth,
        same unit and shape.
    """
    return xp.maximum(elapsed - slow_bus, 0)


def access_seconds(program: Program) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each access in slow and in fast memory.

    Calibrated where the program says so, else physical bytes over bandwidth.  A calibrated access
    may take longer in fast memory; an uncalibrated one never does.

    Returns:
      slow_s, fast_s: float64 [A], in the order of `program.accesses`.
    """
    machine, columns = program.machine, program.columns
    slow, fast = (
        np.where(np.isnan(calibrated), columns.bytes / bandwidth, calibrated)
        for calibrated, bandwidth in (
            (columns.slow_s, machine.slow_bandwidth),
            (columns.fast_s, max(machine.fast_bandwidth, machine.slow_bandwidth)),
        )
    )
    return slow, fast


def bus_seconds(program: Program) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of the slow bus that physical bytes take, whatever the calibrated times are.

    Returns:
      fixed_s: float64 [T], fixed traffic of each instruction.
      access_s: float64 [A], each access if its value is in slow memory, in the order of
        `program.accesses`.
    """
    bandwidth = program.machine.slow_bandwidth
    return program.columns.fixed_slow_bytes / bandwidth, program.columns.bytes / bandwidth


def copy_seconds(program: Program) -> np.ndarray:
    """Seconds of the slow bus that a copy of each value demands: float64 [V]."""
    sizes = np.array([v.size_bytes for v in program.values], dtype=np.float64)
    return sizes / program.machine.slow_bandwidth


def instruction_seconds(program: Program, in_fast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each instruction, and of its own traffic on the slow bus, without stalls.

    in_fast: bool [A], which accesses find their value in fast memory, in the order of
        `program.accesses`.

    Returns:
      elapsed_s, bus_s: float64 [T].
    """
    total = len(program.instructions)
    slow_s, fast_s = access_seconds(program)
    fixed_bus, access_bus = bus_seconds(program)
    columns = program.columns
    slot, reads = columns.slot, columns.is_read
    seconds = np.where(in_fast, fast_s, slow_s)
    read = columns.fixed_read_s + np.bincount(slot[reads], seconds[reads], total)
    write = columns.fixed_write_s + np.bincount(slot[~reads], seconds[~reads], total)
    bus = fixed_bus + np.bincount(slot, np.where(in_fast, 0.0, access_bus), total)
    return np.asarray(elapsed_time(columns.compute_s, read, write)), bus
