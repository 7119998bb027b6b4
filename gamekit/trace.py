"""Events of a trace for ui.perfetto.dev and chrome://tracing.

Format: "Trace Event Format" (Google, the JSON object form).  `X` are slices with start and
duration, `b`/`e` pairs of overlapping slices, `C` counters, `M` names; times are in microseconds.
All events are of one process, whose tracks have numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gamekit.files import write_text

PROCESS = 1
Event = dict[str, Any]


def process_name(name: str) -> Event:
    """What the process is called."""
    return _name("process_name", 0, name)


def track_name(track: int, name: str) -> Event:
    """What a track is called."""
    return _name("thread_name", track, name)


def _name(what: str, track: int, name: str) -> Event:
    return {"ph": "M", "pid": PROCESS, "tid": track, "name": what, "args": {"name": name}}


def slice_of(
    track: int, name: str, begin: float, end: float, kind: str, details: dict[str, Any]
) -> Event:
    """Something that takes its time on a track."""
    return {
        "ph": "X", "pid": PROCESS, "tid": track, "name": name, "cat": kind,
        "ts": float(begin), "dur": max(float(end - begin), 0.0), "args": details,
    }  # fmt: skip


def counter(name: str, at: float, number: float) -> Event:
    """The value that a counter has from now on."""
    return {
        "ph": "C", "pid": PROCESS, "tid": 0, "name": name, "ts": float(at), "args": {"": number},
    }  # fmt: skip


def pair(
    name: str, number: str, begin: float, end: float, kind: str, details: dict[str, Any]
) -> list[Event]:
    """Something that may overlap with others of its kind; `number` tells them apart."""
    event = {"pid": PROCESS, "tid": 0, "cat": kind, "id": number, "name": name}
    return [
        event | {"ph": "b", "ts": float(begin), "args": details},
        event | {"ph": "e", "ts": float(end)},
    ]


def trace_of(events: Sequence[Event], facts: dict[str, Any]) -> dict[str, Any]:
    """The whole trace as JSON data; facts: shown with it."""
    return {"traceEvents": list(events), "displayTimeUnit": "ns", "otherData": facts}


def write_trace_file(trace: dict[str, Any], path: Path) -> None:
    """Writes a trace.

    Raises:
      InputError: the file cannot be written.
    """
    write_text(path, json.dumps(trace, separators=(",", ":")) + "\n")
