"""Networks by chance: layers cut into tiles, residual additions, machines of up to six cores."""

from __future__ import annotations

import dataclasses
import itertools

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

LEAST_OPERATIONS, MOST_OPERATIONS = 12, 56
MOST_TILES = 4
KILOBIT = 1024
# Where the peak counts the reference is hard to beat, and lessons are the reference.
WEIGHTS = Weights(1, 0, 0), Weights(0, 1, 0), Weights(1, 1, 0)


@dataclasses.dataclass
class _Network:
    """kinds: of the operations, "layer" or "addition", by their values."""

    values: list[Value]
    given: list[int]
    kinds: dict[int, str]


def network_problem(seed: int) -> Problem:
    """A valid problem; the same seed gives the same one."""
    # Some draws have an operation that fits nowhere.
    for attempt in range(1000):
        rng = np.random.default_rng((seed, attempt))
        problem = _draw(rng, f"network_{seed}")
        try:
            return problem_from_record(record_of(problem), problem.name, problem.name)
        except InputError:
            continue
    raise AssertionError(f"seed {seed} gives no valid problem")


def _draw(rng: np.random.Generator, name: str) -> Problem:
    network = _network(rng)
    compute = int(rng.integers(2, 5))
    # Additions may have a core of their own, with a small memory.
    simple = int(rng.integers(0, 2))
    memories, groups, channels = _machine(rng, network.values, compute, simple)
    read = {v for value in network.values for v in value.inputs}
    return Problem(
        name,
        tuple(network.values),
        tuple(memories),
        tuple(groups),
        tuple(channels),
        tuple(_ways(rng, network, compute, simple)),
        tuple(network.given),
        tuple(v for v in network.kinds if v not in read),
        WEIGHTS[rng.integers(len(WEIGHTS))],
    )


def _network(rng: np.random.Generator) -> _Network:
    """Layers of tiles, each of which reads all tiles of the layer before; every now and then the
    tiles of two layers are added."""
    made = _Network([Value("x", KILOBIT * int(rng.integers(4, 64)))], [0], {})
    most = int(rng.integers(LEAST_OPERATIONS, MOST_OPERATIONS + 1))
    before, shortcut = [0], list[int]()
    heavier = float(rng.choice([0.1, 1.0, 10.0]))  # weights against activations
    for layer in itertools.count():
        tiles = len(shortcut) or int(rng.integers(1, MOST_TILES + 1))
        adds = bool(shortcut) and rng.random() < 0.6
        if len(made.kinds) + tiles * (1 + adds) > most:
            return made
        bits = KILOBIT * int(rng.integers(2, 33))
        weights = max(int(bits * heavier * rng.uniform(0.5, 2)), 1)
        now = [
            _operation(made, f"layer{layer}.{i}", bits, before, weights, "layer")
            for i in range(tiles)
        ]
        if adds:
            size = max(made.values[v].bits for v in (*now, *shortcut))
            now = [
                _operation(made, f"sum{layer}.{i}", size, [a, b], 0, "addition")
                for i, (a, b) in enumerate(zip(now, shortcut, strict=True))
            ]
        # What a later layer may be added to has as many tiles.
        if adds or not shortcut:
            shortcut = now if rng.random() < 0.6 else []
        before = now
    raise AssertionError("layers end")


def _operation(
    made: _Network, name: str, bits: int, reads: list[int], weights: int, kind: str
) -> int:
    inputs = list(reads)
    if weights:
        made.given.append(len(made.values))
        inputs.append(len(made.values))
        made.values.append(Value(f"{name}:weights", weights))
    made.kinds[len(made.values)] = kind
    made.values.append(Value(name, bits, tuple(inputs)))
    return len(made.values) - 1


def _machine(
    rng: np.random.Generator, values: list[Value], compute: int, simple: int
) -> tuple[list[Memory], list[str], list[Channel]]:
    """Memory i of core i, external memory last; a ring of the cores that compute, links to the
    simple one, and a bus over all, which external memory's port makes slower there."""
    cores = compute + simple
    largest = max(sum(values[i].bits for i in v.inputs) + v.bits for v in values)
    room = int(largest * rng.choice([1.1, 1.5, 3.0, 8.0]))
    memories = [Memory(f"m{i}", room) for i in range(cores)]
    memories.append(Memory("external", None))
    groups = [f"core{i}" for i in range(cores)]
    pairs = {tuple(sorted((i, (i + 1) % compute))) for i in range(compute) if compute > 1}
    pairs |= {(i, compute) for i in range(compute) if simple}
    bandwidth = float(rng.choice([16.0, 64.0]))
    channels = []
    if rng.random() < 0.8:
        for a, b in sorted(pairs):
            groups.append(f"link{a}-{b}")
            for source, target in ((a, b), (b, a)):
                channels.append(Channel(len(groups) - 1, source, target, 0, 1 / bandwidth, 0.4))
    groups.append("bus")
    port, dear = float(rng.choice([8.0, 32.0])), float(rng.choice([1.0, 10.0]))
    for source, target in itertools.permutations(range(cores + 1), 2):
        outside = cores in (source, target)
        width = min(port, bandwidth) if outside else bandwidth
        energy = dear if outside else 0.5
        channels.append(Channel(len(groups) - 1, source, target, 0, 1 / width, energy))
    return memories, groups, channels


def _ways(
    rng: np.random.Generator, network: _Network, compute: int, simple: int
) -> list[Allocation]:
    # Operations a bit, so that now the cores and now the links are what is scarce.
    intensity = float(rng.choice([0.02, 0.1, 0.5]))
    speed = rng.choice([1.0, 1.0, 2.0], compute)
    made = []
    for v, kind in network.kinds.items():
        value = network.values[v]
        if kind == "addition" and simple:
            cores, slower = [compute], [0.1]
        else:
            cores, slower = list(range(compute)), list(speed)
        moved = sum(network.values[i].bits for i in value.inputs) + value.bits
        work = moved * intensity * (0.1 if kind == "addition" else rng.uniform(0.5, 2))
        for core, factor in zip(cores, slower, strict=True):
            time = max(int(work * factor), 1)
            energy = float(round(0.1 * moved + work * (3 - factor), 3))
            inputs = (core,) * len(value.inputs)
            made.append(Allocation(v, core, inputs, core, time, energy))
    return made
