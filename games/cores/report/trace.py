"""A schedule as a trace for ui.perfetto.dev: a track for every group, a counter for every memory.

One unit of time is shown as a microsecond.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gamekit.trace import (
    counter,
    process_name,
    slice_of,
    trace_of,
    track_name,
    write_trace_file,
)
from games.cores.judge import Judged
from games.cores.problem.problem import Problem


def trace(problem: Problem, found: Judged) -> dict[str, Any]:
    """The trace as JSON data."""
    events = [process_name(problem.name)]
    events += [track_name(g + 1, name) for g, name in enumerate(problem.groups)]
    for span in found.spans:
        events.append(slice_of(span.group + 1, span.label, span.begin, span.end, span.kind, {}))
    for m, memory in enumerate(problem.memories):
        if memory.bits is not None:
            name = f"{memory.name}, bits"
            events += [counter(name, time, bits[m]) for time, bits in found.usage]
    facts = {"time": found.time, "energy": found.energy, "peak": found.peak, "cost": found.cost}
    return trace_of(events, facts)


def write_trace(problem: Problem, found: Judged, path: Path) -> None:
    """Writes the trace.

    Raises:
      InputError: the file cannot be written.
    """
    write_trace_file(trace(problem, found), path)
