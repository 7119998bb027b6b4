"""A machine and a workload as a problem: layers are cut into tiles that run on cores."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

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
from games.cores.stream.machine import Core, Machine, load_machine
from games.cores.stream.workload import Layer, load_workload

MOST_TILES = 64


def cycles(loops: dict[str, int], axes: tuple[int, ...]) -> int:
    """Cycles of a layer on an array: each axis unrolls one loop, in the way that takes least; a
    product over the axes of ceil(loop / axis), times the loops that are left."""
    names, total = list(loops), math.prod(loops.values())
    padded = [*names, *[""] * len(axes)]
    least = total
    for chosen in set(itertools.permutations(padded, len(axes))):
        passes = total
        for name, axis in zip(chosen, axes, strict=True):
            if name:
                passes = passes // loops[name] * math.ceil(loops[name] / axis)
        least = min(least, passes)
    return least


def import_problem(machine: Path, workload: Path, tiles: int = 1) -> Problem:
    """Reads both files.

    Raises:
      InputError: a file is unusable, or an operation fits no core.
    """
    if not 1 <= tiles <= MOST_TILES:
        raise InputError(f"--tiles: must be in 1..{MOST_TILES}, got {tiles}")
    name = f"{workload.stem}_{machine.stem}"
    problem = convert(load_machine(machine), load_workload(workload), tiles, name)
    return problem_from_record(record_of(problem), name, f"{machine} with {workload}")


@dataclasses.dataclass
class _Tile:
    """A part of a layer. begin, end: its channels."""

    value: int
    begin: int
    end: int


def convert(machine: Machine, layers: list[Layer], tiles: int, name: str) -> Problem:
    """A problem whose cores have a memory each, and whose external memory is that of the off-chip
    core. Layers are cut along their output channels into `tiles` parts, or more where that many do
    not fit into the memories of the cores that may run them."""
    values: list[Value] = []
    given: list[int] = []
    allocations: list[Allocation] = []
    parts: list[list[_Tile]] = []
    network_input = -1
    for layer, count in zip(layers, _counts(machine, layers, tiles), strict=True):
        if -1 in layer.inputs and network_input < 0:
            network_input = len(values)
            values.append(Value("input", layer.input_bits))
            given.append(network_input)
        able = _cores_for(machine, layer.kind)
        whole = layer.loops[layer.channels]
        cuts = [whole * i // count for i in range(count + 1)]
        made = []
        for i, (begin, end) in enumerate(itertools.pairwise(cuts)):
            mine = "" if len(cuts) == 2 else f".{i}"
            inputs = _reads(layer, begin, end, parts, network_input, whole)
            share = (end - begin) / whole
            if layer.weight_bits:
                given.append(len(values))
                inputs.append(len(values))
                values.append(Value(f"{layer.name}{mine}:weights", _part(layer.weight_bits, share)))
            v = len(values)
            values.append(Value(f"{layer.name}{mine}", _part(layer.bits, share), tuple(inputs)))
            loops = layer.loops | {layer.channels: end - begin}
            moved = sum(values[u].bits for u in inputs)
            for core in able:
                allocations.append(
                    _allocation(machine.cores[core], core, v, inputs, loops, moved, values)
                )
            made.append(_Tile(v, begin, end))
        parts.append(made)
    values = [dataclasses.replace(x, name=f"{i} {x.name}") for i, x in enumerate(values)]
    read = {v for value in values for v in value.inputs}
    wanted = [v for v in range(len(values)) if v not in read]
    memories, groups, channels = _machine(machine)
    return Problem(
        name,
        tuple(values),
        tuple(memories),
        tuple(groups),
        tuple(channels),
        tuple(allocations),
        tuple(given),
        tuple(wanted),
        Weights(),
    )


def _part(bits: int, share: float) -> int:
    return math.ceil(bits * share)


def _cores_for(machine: Machine, kind: str) -> list[int]:
    """The cores that are there for an operator; else those that are there for any."""
    own = [c for c, core in enumerate(machine.cores) if kind in core.kinds]
    rest = [c for c, core in enumerate(machine.cores) if not core.kinds and c != machine.external]
    return own or rest


def _reads(
    layer: Layer, begin: int, end: int, parts: list[list[_Tile]], first: int, whole: int
) -> list[int]:
    """The values that a tile reads, without weights."""
    found: list[int] = []
    for source in layer.inputs:
        if source < 0:
            found.append(first)
            continue
        total = parts[source][-1].end
        low, high = begin * total / whole, end * total / whole
        for tile in parts[source]:
            if layer.mixes or (tile.begin < high and tile.end > low):
                found.append(tile.value)
    return list(dict.fromkeys(found))


def _counts(machine: Machine, layers: list[Layer], tiles: int) -> list[int]:
    """Into how many tiles each layer is cut: as many as asked for, doubled until they fit; and no
    coarser than the layers that read it tile by tile."""
    counts = []
    for layer in layers:
        channels = layer.loops[layer.channels]
        able = _cores_for(machine, layer.kind)
        room = max((machine.cores[c].bits for c in able), default=0)
        read = sum(layers[i].bits if i >= 0 else layer.input_bits for i in layer.inputs)
        count = min(tiles, channels)
        while count < channels and 2 * count <= MOST_TILES:
            inputs = read if layer.mixes or -1 in layer.inputs else read / count
            if inputs + (layer.weight_bits + layer.bits) / count <= room:
                break
            count *= 2
        counts.append(min(count, channels))
    for i in reversed(range(len(layers))):
        for source in layers[i].inputs if not layers[i].mixes else ():
            if source >= 0:
                channels = layers[source].loops[layers[source].channels]
                counts[source] = min(max(counts[source], counts[i]), channels)
    return counts


def _allocation(
    c: Core,
    core: int,
    v: int,
    inputs: list[int],
    loops: dict[str, int],
    moved: int,
    values: list[Value],
) -> Allocation:
    # Groups and memories have the numbers of their cores.
    energy = c.mac_energy * math.prod(loops.values()) + c.read * moved + c.write * values[v].bits
    return Allocation(v, core, (core,) * len(inputs), core, cycles(loops, c.axes), round(energy, 6))


def _machine(machine: Machine) -> tuple[list[Memory], list[str], list[Channel]]:
    memories = [
        Memory(core.name, None if c == machine.external else core.bits)
        for c, core in enumerate(machine.cores)
    ]
    groups = [core.name for core in machine.cores]
    channels = []
    for link in machine.links:
        groups.append(link.name)
        for a, b in itertools.permutations(link.cores, 2):
            source, target = machine.cores[a], machine.cores[b]
            width = link.bandwidth
            # External memory moves no more than its port does.
            for end, core in ((a, source), (b, target)):
                if end == machine.external:
                    width = min(width, core.port)
            energy = link.energy + source.read + target.write
            channels.append(Channel(len(groups) - 1, a, b, 0, 1 / width, round(energy, 9)))
    return memories, groups, channels
