"""Problems by chance: layered graphs on small machines of every shape."""

from __future__ import annotations

import dataclasses

import numpy as np

from gamekit.errors import InputError
from games.cores.problem.files import problem_from_record
from games.cores.problem.problem import (
    Allocation,
    Channel,
    Memory,
    Problem,
    Value,
    Weights,
    record_of,
)

SHAPES = ("chain", "star", "bus", "ring")


@dataclasses.dataclass(frozen=True)
class Size:
    """Of a problem by chance, each a least and a most: operations, cores."""

    operations: tuple[int, int] = (4, 10)
    cores: tuple[int, int] = (1, 3)


MIDDLING = Size()


def random_problem(seed: int, size: Size = MIDDLING, name: str | None = None) -> Problem:
    """A valid problem; the same seed and size give the same one."""
    # A few draws have no way to run an operation at all.
    for attempt in range(1000):
        rng = np.random.default_rng((seed, attempt))
        problem = _draw(rng, size, name or f"random_{seed}")
        try:
            return problem_from_record(record_of(problem), problem.name, problem.name)
        except InputError:
            continue
    raise AssertionError(f"seed {seed} gives no valid problem")


def _between(rng: np.random.Generator, ends: tuple[int, int]) -> int:
    return int(rng.integers(ends[0], ends[1] + 1))


def _draw(rng: np.random.Generator, size: Size, name: str) -> Problem:
    unit = int(rng.choice([1, 4, 100]))
    values, given, wanted = _graph(rng, _between(rng, size.operations), unit)
    cores = _between(rng, size.cores)
    memories, groups, channels = _machine(rng, cores, values, unit)
    allocations = _ways(rng, values, given, cores, unit)
    return Problem(
        name,
        tuple(values),
        tuple(memories),
        tuple(groups),
        tuple(channels),
        tuple(allocations),
        tuple(given),
        tuple(wanted),
        _weights(rng),
    )


def _weights(rng: np.random.Generator) -> Weights:
    """Mostly of two kinds of figures; often only of one."""
    corner = rng.integers(0, 5)
    if corner < 3:
        return Weights(*(float(corner == i) for i in range(3)))
    drawn = rng.choice([0.0, 1.0, 2.0], 3)
    return Weights(*map(float, drawn)) if drawn.sum() else Weights()


def _graph(
    rng: np.random.Generator, operations: int, unit: int
) -> tuple[list[Value], list[int], list[int]]:
    values = [Value("x", unit * int(rng.integers(1, 6)))]
    given, made = [0], [0]
    for i in range(operations):
        recent = made[-4:]
        count = min(len(recent), 1 + int(rng.random() < 0.4))
        inputs = [int(v) for v in rng.choice(recent, count, replace=False)]
        if rng.random() < 0.5:
            given.append(len(values))
            inputs.append(len(values))
            values.append(Value(f"w{i}", unit * int(rng.integers(1, 6))))
        after = ()
        if len(made) > 2 and rng.random() < 0.1:
            after = (int(rng.choice(made[1:])),)
        made.append(len(values))
        values.append(Value(f"v{i}", unit * int(rng.integers(0, 6)), tuple(inputs), after))
    read = {v for value in values for v in value.inputs}
    wanted = [v for v in made[1:] if v not in read]
    if rng.random() < 0.2 and made[1] not in wanted:
        wanted.append(made[1])
    given = [v for v in given if v in read]
    keep = sorted({*given, *made[1:]})
    number = {v: i for i, v in enumerate(keep)}
    kept = [
        dataclasses.replace(
            values[v],
            inputs=tuple(number[i] for i in values[v].inputs),
            after=tuple(number[i] for i in values[v].after),
        )
        for v in keep
    ]
    return kept, [number[v] for v in given], [number[v] for v in wanted]


def _machine(
    rng: np.random.Generator, cores: int, values: list[Value], unit: int
) -> tuple[list[Memory], list[str], list[Channel]]:
    """External memory 0, memory i of core i - 1, and links of a shape."""
    shape = SHAPES[rng.integers(0, len(SHAPES))]
    largest = max(sum(values[i].bits for i in v.inputs) + v.bits for v in values)
    room = [int(largest * rng.choice([1.0, 1.2, 1.5, 2.5])) for _ in range(cores)]
    if rng.random() < 0.3:
        room = [sum(v.bits for v in values)] * cores
    memories = [Memory("external", None), *(Memory(f"m{i}", r) for i, r in enumerate(room))]
    groups = [f"core{i}" for i in range(cores)]
    pairs = [(0, i + 1) for i in range(cores)]
    if shape == "chain":
        pairs = [(i, i + 1) for i in range(cores)]
    elif shape == "ring":
        pairs += [(i + 1, (i + 1) % cores + 1) for i in range(cores) if cores > 1]
    elif shape == "bus":
        pairs += [(i + 1, j + 1) for i in range(cores) for j in range(i)]
    pairs = sorted({tuple(sorted(pair)) for pair in pairs})
    channels = []
    for a, b in pairs:
        separate = shape != "bus" and rng.random() < 0.3
        # A bus is one group; a link may share that of a core.
        if shape != "bus" or len(groups) == cores:
            groups.append(f"link{a}-{b}" if shape != "bus" else "bus")
        group = len(groups) - 1
        if shape != "bus" and rng.random() < 0.1:
            group = int(rng.integers(0, cores))
        time = float(rng.choice([0.25, 0.5, 1, 2]))
        energy = float(rng.choice([0, 1, 2, 4]))
        latency = int(rng.choice([0, 0, 1, 3]))
        for i, (source, target) in enumerate(((a, b), (b, a))):
            if i and separate:
                groups.append(f"link{b}-{a}")
                group = len(groups) - 1
            channels.append(Channel(group, source, target, latency, time, energy))
    used = sorted({*range(cores), *(c.group for c in channels)})
    number = {g: i for i, g in enumerate(used)}
    channels = [dataclasses.replace(c, group=number[c.group]) for c in channels]
    return memories, [groups[g] for g in used], channels


def _ways(
    rng: np.random.Generator, values: list[Value], given: list[int], cores: int, unit: int
) -> list[Allocation]:
    speed = rng.choice([1.0, 1.0, 2.0], cores)
    two_speeds = rng.random() < 0.3
    made = []
    for v, value in enumerate(values):
        if v in given:
            continue
        work = unit * int(rng.integers(0, 10))
        allowed = [c for c in range(cores) if rng.random() < 0.8] or [int(rng.integers(cores))]
        for core in allowed:
            time, energy = int(work * speed[core]), float(work * (3 - speed[core]))
            memory = core + 1
            inputs = [memory] * len(value.inputs)
            # Some read one input from external memory, or write there.
            if rng.random() < 0.1:
                inputs[int(rng.integers(len(inputs)))] = 0
            output = 0 if rng.random() < 0.05 else memory
            made.append(Allocation(v, core, tuple(inputs), output, time, energy))
            if two_speeds:
                made.append(Allocation(v, core, tuple(inputs), output, 2 * time, energy / 2))
    return made
