"""Problem files: JSON, checked field by field."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gamekit.jsonfile import Record, read_json, write_json
from gamekit.text import shown
from games.cores.problem.problem import (
    MAX_SIZE,
    Allocation,
    Channel,
    Memory,
    Problem,
    Value,
    Weights,
    record_of,
    topological_order,
)

FORMAT, VERSION = "cores.problem", 1


def load_problem(path: str | Path) -> Problem:
    """Reads and checks a problem file.

    Raises:
      InputError: the file is unusable; the message names it, the field and the value.
    """
    path = Path(path)
    name = path.name.removesuffix(".gz").removesuffix(".json")
    return problem_from_record(read_json(path, FORMAT, VERSION), name, str(path))


def save_problem(problem: Problem, path: str | Path) -> None:
    """Writes a problem file.

    Raises:
      InputError: the place cannot be written.
    """
    write_json(path, {"format": FORMAT, "version": VERSION} | record_of(problem))


def problem_from_record(data: dict[str, Any], name: str, source: str) -> Problem:
    """A problem from the content of a file; see `load_problem`."""
    record = Record(data, source)
    values = _values(record)
    memories = _memories(record)
    groups = record.strings("groups")
    _unlike(record, "groups", groups)
    of_value = {value.name: v for v, value in enumerate(values)}
    of_memory = {memory.name: m for m, memory in enumerate(memories)}
    of_group = {group: g for g, group in enumerate(groups)}
    problem = Problem(
        name=name,
        values=values,
        memories=memories,
        groups=groups,
        channels=tuple(_channel(r, of_group, of_memory) for r in record.records("channels")),
        allocations=tuple(
            _allocation(r, values, of_value, of_group, of_memory)
            for r in record.records("allocations")
        ),
        given=_names(record, "given", of_value, "values"),
        wanted=_names(record, "wanted", of_value, "values"),
        weights=_weights(record),
    )
    _check_graph(record, problem)
    _check_runs(record, problem)
    return problem


def _size(record: Record, key: str, least: int = 0) -> int:
    size = record.integer(key)
    if not least <= size <= MAX_SIZE:
        raise record.error(key, f"must be in {least}..2^40, got {size}")
    return size


def _amount(record: Record, key: str, default: float | None = None) -> float:
    amount = record.number(key) if default is None else record.number(key, default)
    if not 0 <= amount < math.inf:
        raise record.error(key, f"must be at least 0, got {amount}")
    return amount


def _unlike(record: Record, key: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for i, name in enumerate(names):
        if name in seen:
            raise record.error(f"{key}[{i}]", f"must be a name of its own, got {name!r} again")
        seen.add(name)


def _names(record: Record, key: str, known: dict[str, int], what: str) -> tuple[int, ...]:
    """Numbers of different things by their names."""
    names = record.strings(key)
    _unlike(record, key, names)
    return tuple(_known(record, f"{key}[{i}]", n, known, what) for i, n in enumerate(names))


def _known(record: Record, key: str, name: str, known: dict[str, int], what: str) -> int:
    if name not in known:
        raise record.error(key, f"must be one of the {what}, got {shown(name, 60)!r}")
    return known[name]


def _values(record: Record) -> tuple[Value, ...]:
    records = list(record.records("values"))
    names = [r.string("name") for r in records]
    _unlike(record, "values", names)
    known = {name: v for v, name in enumerate(names)}
    made = []
    for r, name in zip(records, names, strict=True):
        inputs = _names(r, "inputs", known, "values") if "inputs" in r.fields() else ()
        after = _names(r, "after", known, "values") if "after" in r.fields() else ()
        made.append(Value(name, _size(r, "bits"), inputs, after))
    values = tuple(made)
    order = topological_order(values)
    if len(order) < len(values):
        left = sorted(set(range(len(values))) - set(order))[0]
        raise record.error(
            f"values[{left}].inputs", f"must be without cycles, got one through {names[left]!r}"
        )
    return values


def _memories(record: Record) -> tuple[Memory, ...]:
    made = []
    for r in record.records("memories"):
        limited = r.integer("bits", None) is not None
        made.append(Memory(r.string("name"), _size(r, "bits") if limited else None))
    _unlike(record, "memories", [memory.name for memory in made])
    count = sum(memory.bits is None for memory in made)
    if count != 1:
        raise record.error("memories", f"one must be without bits (the external one), got {count}")
    return tuple(made)


def _channel(r: Record, groups: dict[str, int], memories: dict[str, int]) -> Channel:
    source = _known(r, "source", r.string("source"), memories, "memories")
    target = _known(r, "target", r.string("target"), memories, "memories")
    if source == target:
        raise r.error("target", "must be another memory than the source")
    return Channel(
        _known(r, "group", r.string("group"), groups, "groups"),
        source,
        target,
        _size(r, "latency"),
        _amount(r, "time_per_bit"),
        _amount(r, "energy_per_bit"),
    )


def _allocation(
    r: Record,
    values: tuple[Value, ...],
    of_value: dict[str, int],
    groups: dict[str, int],
    memories: dict[str, int],
) -> Allocation:
    value = _known(r, "value", r.string("value"), of_value, "values")
    names = r.strings("inputs")
    count = len(values[value].inputs)
    if len(names) != count:
        raise r.error("inputs", f"must be a memory for each of {count} inputs, got {len(names)}")
    return Allocation(
        value,
        _known(r, "group", r.string("group"), groups, "groups"),
        tuple(_known(r, f"inputs[{i}]", n, memories, "memories") for i, n in enumerate(names)),
        _known(r, "output", r.string("output"), memories, "memories"),
        _size(r, "time"),
        _amount(r, "energy"),
    )


def _weights(record: Record) -> Weights:
    if "weights" not in record.fields():
        return Weights()
    r = record.record("weights")
    usual = dataclasses.asdict(Weights())
    weights = Weights(*(_amount(r, name, amount) for name, amount in usual.items()))
    if not 0 < weights.time + weights.energy + weights.peak < math.inf:
        raise record.error("weights", "one must be positive, got none")
    return weights


def _check_graph(record: Record, problem: Problem) -> None:
    given, leads = set(problem.given), set(problem.wanted)
    for v, value in enumerate(problem.values):
        if v in given and (value.inputs or value.after):
            raise record.error(f"values[{v}].inputs", f"must be none, {value.name!r} is given")
        if v in given and problem.allocations_of[v]:
            a = problem.allocations_of[v][0]
            raise record.error(f"allocations[{a}].value", f"must not be given, got {value.name!r}")
        if v not in given and not problem.allocations_of[v]:
            raise record.error(
                f"values[{v}]", f"must be given or have an allocation, {value.name!r} has none"
            )
    for v in reversed(topological_order(problem.values)):
        if v in leads:
            leads.update(problem.values[v].inputs)
        elif v not in given:
            name = problem.values[v].name
            raise record.error(f"values[{v}]", f"must lead to a wanted value, {name!r} does not")


def _check_runs(record: Record, problem: Problem) -> None:
    """Every operation can run alone: there is room, and a way there and back."""
    from games.cores.problem.naive import obstacle_of

    for v in problem.operations:
        obstacles = [obstacle_of(problem, a) for a in problem.allocations_of[v]]
        if all(obstacles):
            a = problem.allocations_of[v][0]
            name = shown(problem.values[v].name, 60)
            raise record.error(f"allocations[{a}]", f"{name!r} can run nowhere: {obstacles[0]}")
