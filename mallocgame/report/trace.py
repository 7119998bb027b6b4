"""The timeline of a mapping as a trace for ui.perfetto.dev and chrome://tracing.

Format: "Trace Event Format" (Google, the JSON object form).  `X` are slices with start and
    duration,
`b`/`e` pairs of overlapping slices, `C` counters, `M` names; times are in microseconds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from gamekit.files import write_text
from mallocgame.judge import Simulation
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping, Transfer

PROCESS = 1
LOOPS, INSTRUCTIONS, STALLS = 1, 2, 3
Event = dict[str, Any]


def trace(program: Program, mapping: Mapping, simulation: Simulation, title: str) -> dict[str, Any]:
    """The trace as JSON data: instructions, stalls, loops, copies, fast memory, the slow bus.

    Each loop body appears once.  A stall follows the instruction that waits.
    """
    durations = np.asarray(simulation.elapsed_s) + np.asarray(simulation.stall_s)
    edges = 1e6 * np.concatenate([[0.0], np.cumsum(durations)])
    events = [
        _name("process_name", 0, f"{program.name}: {title}"),
        _name("thread_name", LOOPS, "loops"),
        _name("thread_name", INSTRUCTIONS, "instructions"),
        _name("thread_name", STALLS, "stalls"),
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
        events.append(_counter("fast memory, bytes", edges[t], int(simulation.fast_bytes[t])))
        busy = float(simulation.bus_busy_s[t] / durations[t]) if durations[t] > 0 else 0.0
        events.append(_counter("slow bus, %", edges[t], round(100 * min(busy, 1.0), 3)))
    events.append(_counter("fast memory, bytes", edges[-1], 0))
    events.append(_counter("slow bus, %", edges[-1], 0.0))
    number = 0
    for kind, transfers in (("prefetch", mapping.prefetches), ("eviction", mapping.evictions)):
        for transfer in transfers:
            number += 1
            events += _copy(program, kind, transfer, number, edges)
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {
            "program": program.name,
            "mapper": title,
            "machine": program.machine.name,
            "latency_s": simulation.latency_s,
            "saved_fraction": simulation.saved_fraction,
        },
    }


def write_trace(
    program: Program, mapping: Mapping, simulation: Simulation, title: str, path: Path
) -> None:
    """Writes the trace.

    Raises:
      InputError: the file cannot be written.
    """
    text = json.dumps(trace(program, mapping, simulation, title), separators=(",", ":"))
    write_text(path, text + "\n")


def _name(what: str, track: int, name: str) -> Event:
    return {"ph": "M", "pid": PROCESS, "tid": track, "name": what, "args": {"name": name}}


def _slice(track: int, name: str, begin: float, end: float, details: dict[str, Any]) -> Event:
    return {
        "ph": "X", "pid": PROCESS, "tid": track, "name": name, "cat": "program",
        "ts": float(begin), "dur": max(float(end - begin), 0.0), "args": details,
    }  # fmt: skip


def _counter(name: str, at: float, number: float) -> Event:
    return {
        "ph": "C",
        "pid": PROCESS,
        "tid": 0,
        "name": name,
        "ts": float(at),
        "args": {"": number},
    }


def _copy(
    program: Program, kind: str, transfer: Transfer, number: int, edges: np.ndarray
) -> list[Event]:
    """A copy's window as a pair of events, because windows overlap."""
    last = len(edges) - 1
    start, end = transfer.start, min(max(transfer.end, transfer.start), last)
    if not (0 <= start <= last and 0 <= transfer.value < len(program.values)):
        return []
    value = program.values[transfer.value]
    event = {
        "pid": PROCESS, "tid": 0, "cat": kind, "id": f"{kind}-{number}",
        "name": f"{kind} {value.name}",
    }  # fmt: skip
    details = {"bytes": value.size_bytes, "start": transfer.start, "end": transfer.end}
    return [
        event | {"ph": "b", "ts": float(edges[start]), "args": details},
        event | {"ph": "e", "ts": float(edges[end])},
    ]
