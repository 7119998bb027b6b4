"""A schedule: what starts when, and what is dropped."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gamekit.jsonfile import Record, read_json, write_json
from gamekit.text import shown
from games.cores.problem.problem import MAX_SIZE, Problem

FORMAT, VERSION = "cores.schedule", 1


@dataclasses.dataclass(frozen=True)
class Start:
    """An operation starts. allocation: its number."""

    time: int
    allocation: int


@dataclasses.dataclass(frozen=True)
class Transfer:
    """A copy of a value starts on its way. channel, value: numbers."""

    time: int
    channel: int
    value: int


@dataclasses.dataclass(frozen=True)
class Drop:
    """A memory forgets its copy of a value. value, memory: numbers."""

    time: int
    value: int
    memory: int


Event = Start | Transfer | Drop


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Events in order; those of one time happen one after another."""

    events: tuple[Event, ...]

    def delayed(self, time: int) -> Schedule:
        """The same, later."""
        return Schedule(tuple(dataclasses.replace(e, time=e.time + time) for e in self.events))


def save_schedule(schedule: Schedule, path: str | Path) -> None:
    """Writes a schedule file.

    Raises:
      InputError: the place cannot be written.
    """
    events = [{"action": _ACTIONS[type(e)]} | dataclasses.asdict(e) for e in schedule.events]
    write_json(path, {"format": FORMAT, "version": VERSION, "events": events})


_ACTIONS: dict[type[Event], str] = {Start: "start", Transfer: "transfer", Drop: "drop"}


def load_schedule(path: str | Path, problem: Problem) -> Schedule:
    """Reads a schedule file and checks its form; the judge checks the rules.

    Raises:
      InputError: the file is unusable, or has numbers that the problem lacks.
    """
    return schedule_from_record(read_json(path, FORMAT, VERSION), problem, str(path))


def schedule_from_record(data: dict[str, Any], problem: Problem, source: str) -> Schedule:
    """A schedule from the content of a file; see `load_schedule`."""
    limits = {
        "allocation": len(problem.allocations),
        "channel": len(problem.channels),
        "value": len(problem.values),
        "memory": len(problem.memories),
        "time": MAX_SIZE,
    }

    def number(r: Record, key: str) -> int:
        found = r.integer(key)
        if not 0 <= found < limits[key]:
            raise r.error(key, f"must be in 0..{limits[key] - 1}, got {found}")
        return found

    events: list[Event] = []
    for r in Record(data, source).records("events"):
        action, time = r.string("action"), number(r, "time")
        if action == "start":
            events.append(Start(time, number(r, "allocation")))
        elif action == "transfer":
            events.append(Transfer(time, number(r, "channel"), number(r, "value")))
        elif action == "drop":
            events.append(Drop(time, number(r, "value"), number(r, "memory")))
        else:
            raise r.error("action", f"must be start, transfer or drop, got {shown(action, 60)!r}")
    return Schedule(tuple(events))
