"""The timeline of a mapping as a trace for ui.perfetto.dev (gamekit.trace)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gamekit.trace import (
    Event,
    counter,
    pair,
    process_name,
    slice_of,
    trace_of,
    track_name,
    write_trace_file,
)
from mallocgame.judge import Simulation
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping, Transfer

LOOPS, INSTRUCTIONS, STALLS = 1, 2, 3


def trace(program: Program, mapping: Mapping, simulation: Simulation, title: str) -> dict[str, Any]:
    """The trace as JSON data: instructions, stalls, loops, copies, fast memory, the slow bus.

    Each loop body appears once.  A stall follows the instruction that waits.
    """
    durations = np.asarray(simulation.elapsed_s) + np.asarray(simulation.stall_s)
    edges = 1e6 * np.concatenate([[0.0], np.cumsum(durations)])
    events = [
        process_name(f"{program.name}: {title}"),
        track_name(LOOPS, "loops"),
        track_name(INSTRUCTIONS, "instructions"),
        track_name(STALLS, "stalls"),
    ]
    for loop in program.loops:
        events.append(
            _slice(
                LOOPS, f"loop, {loop.trip_count:,} times", edges[loop.entry], edges[loop.exit + 1],
                {"trip_count": loop.trip_count},
            )
        )  # fmt: skip
    for t, instruction in enumerate(program.instructions):
        end = edges[t] + 1e6 * float(simulation.elapsed_s[t])
        details = {"slot": t, "opcode": instruction.opcode, "executions": program.weights[t]}
        events.append(_slice(INSTRUCTIONS, instruction.name, edges[t], end, details))
        if simulation.stall_s[t] > 0:
            events.append(
                _slice(STALLS, f"stall of {instruction.name}", end, edges[t + 1], {"slot": t})
            )
        events.append(counter("fast memory, bytes", edges[t], int(simulation.fast_bytes[t])))
        busy = float(simulation.bus_busy_s[t] / durations[t]) if durations[t] > 0 else 0.0
        events.append(counter("slow bus, %", edges[t], round(100 * min(busy, 1.0), 3)))
    events.append(counter("fast memory, bytes", edges[-1], 0))
    events.append(counter("slow bus, %", edges[-1], 0.0))
    number = 0
    for kind, transfers in (("prefetch", mapping.prefetches), ("eviction", mapping.evictions)):
        for transfer in transfers:
            number += 1
            events += _copy(program, kind, transfer, number, edges)
    facts = {
        "program": program.name,
        "mapper": title,
        "machine": program.machine.name,
        "latency_s": simulation.latency_s,
        "saved_fraction": simulation.saved_fraction,
    }
    return trace_of(events, facts)


def write_trace(
    program: Program, mapping: Mapping, simulation: Simulation, title: str, path: Path
) -> None:
    """Writes the trace.

    Raises:
      InputError: the file cannot be written.
    """
    write_trace_file(trace(program, mapping, simulation, title), path)


def _slice(track: int, name: str, begin: float, end: float, details: dict[str, Any]) -> Event:
    return slice_of(track, name, begin, end, "program", details)


def _copy(
    program: Program, kind: str, transfer: Transfer, number: int, edges: np.ndarray
) -> list[Event]:
    """A copy's window as a pair of events, because windows overlap."""
    last = len(edges) - 1
    start, end = transfer.start, min(max(transfer.end, transfer.start), last)
    if not (0 <= start <= last and 0 <= transfer.value < len(program.values)):
        return []
    value = program.values[transfer.value]
    details = {"bytes": value.size_bytes, "start": transfer.start, "end": transfer.end}
    return pair(f"{kind} {value.name}", f"{kind}-{number}", edges[start], edges[end], kind, details)
