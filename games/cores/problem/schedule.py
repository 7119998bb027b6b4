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


def save_schedule(schedule: Schedule, problem: Problem, path: str | Path) -> None:
    """Writes a schedule file.

    Raises:
      InputError: the place cannot be written.
    """

    def of_event(event: Event) -> dict[str, Any]:
        if isinstance(event, Start):
            return {"time": event.time, "action": "start", "allocation": event.allocation}
        name = problem.values[event.value].name
        if isinstance(event, Transfer):
            record = {"time": event.time, "action": "transfer", "channel": event.channel}
            return record | {"value": name}
        memory = problem.memories[event.memory].name
        return {"time": event.time, "action": "drop", "value": name, "memory": memory}

    record = {"format": FORMAT, "version": VERSION, "problem": problem.name}
    write_json(path, record | {"events": [of_event(event) for event in schedule.events]})


def load_schedule(path: str | Path, problem: Problem) -> Schedule:
    """Reads a schedule file and checks its form; the judge checks the rules.

    Raises:
      InputError: the file is unusable, or names what the problem lacks.
    """
    return schedule_from_record(read_json(path, FORMAT, VERSION), problem, str(path))


def schedule_from_record(data: dict[str, Any], problem: Problem, source: str) -> Schedule:
    """A schedule from the content of a file; see `load_schedule`."""
    values = {value.name: v for v, value in enumerate(problem.values)}
    memories = {memory.name: m for m, memory in enumerate(problem.memories)}

    def number(r: Record, key: str, limit: int) -> int:
        found = r.integer(key)
        if not 0 <= found < limit:
            raise r.error(key, f"must be below {limit}, got {found}")
        return found

    def named(r: Record, key: str, known: dict[str, int]) -> int:
        name = r.string(key)
        if name not in known:
            raise r.error(key, f"must be a {key} of {problem.name}, got {shown(name, 60)!r}")
        return known[name]

    events: list[Event] = []
    for r in Record(data, source).records("events"):
        time, action = number(r, "time", MAX_SIZE), r.string("action")
        if action == "start":
            events.append(Start(time, number(r, "allocation", len(problem.allocations))))
        elif action == "transfer":
            channel = number(r, "channel", len(problem.channels))
            events.append(Transfer(time, channel, named(r, "value", values)))
        elif action == "drop":
            events.append(Drop(time, named(r, "value", values), named(r, "memory", memories)))
        else:
            raise r.error("action", f"must be start, transfer or drop, got {shown(action, 60)!r}")
    return Schedule(tuple(events))
