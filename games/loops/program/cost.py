"""What a nest costs by the model of docs/loops.md, section 5, in plain Python."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from games.loops.program.computation import WIDTH, Computation, Tensor
from games.loops.program.machine import CONSTANTS, Machine, machine
from games.loops.program.nest import MAX_SHORT, Nest, register_tile

LINE_FLOATS = 16
# Of the first cache.
SETS = 64
# Vector registers; two of them are for what is multiplied.
REGISTERS, OPERANDS = 16, 2
# A footprint of so many times a cache's size does not fit at all.
NO_FIT = 2.0


@dataclasses.dataclass(frozen=True)
class Counts:
    """How often the model pays each constant: of `core`, whose parts overlap, the dearest alone."""

    core: Mapping[str, float]
    others: Mapping[str, float]


def seconds(computation: Computation, nest: Nest, of: Machine | None = None) -> float:
    """What the kernel of a nest takes."""
    of = of or machine()
    price = dict(zip(CONSTANTS, of.constants, strict=True))
    count = counts(computation, nest, of.caches)
    core = max(price[name] * number for name, number in count.core.items())
    rest = sum(price[name] * number for name, number in count.others.items())
    return 1e-9 * (core + rest)


def least_seconds(computation: Computation, of: Machine | None = None) -> float:
    """No nest takes less: its multiplications alone take as much."""
    of = of or machine()
    return 1e-9 * of.constants[CONSTANTS.index("fma")] * computation.macs / WIDTH


def counts(computation: Computation, nest: Nest, caches: tuple[int, int]) -> Counts:
    """What a nest is made of."""
    loops, extents = nest.compute, nest.extents(computation)
    trips = [x / loop.step for x, loop in zip(extents, loops, strict=True)]
    last = len(loops) - 1
    before = [math.prod(trips[:i]) for i in range(len(loops) + 1)]
    lanes = min(WIDTH, trips[last]) if nest.vector else 1.0
    # The block: inner loops that are written out; of a long vectorised loop one vector.
    inside = [False] * len(loops)
    inside[last] = trips[last] <= MAX_SHORT if nest.vector else loops[last].unroll
    for i in range(last - 1, -1, -1):
        inside[i] = inside[i + 1] and loops[i].unroll
    q = [t if x else 1.0 for t, x in zip(trips, inside, strict=True)]
    if not inside[last]:
        q[last] = lanes
    covered = {
        v: math.prod(q[i] for i, x in enumerate(loops) if x.variable == v)
        for v in _names(computation)
    }
    size = math.prod(q)
    steady = max((i for i in range(len(loops)) if not inside[i]), default=None)
    rounds = 1.0 if steady is None else trips[steady] / q[steady]
    strides = {t.name: computation.strides(t) for t in computation.tensors}
    inner, out = loops[last].variable, computation.out

    def vectors(tensor: Tensor, covers: Mapping[str, float]) -> tuple[float, float]:
        """Vectors and broadcasts of a tensor's elements, and elements one by one."""
        elements = math.prod(_axes(tensor, covers))
        stride = strides[tensor.name].get(inner, 0)
        if not nest.vector or stride == 0:
            return elements, 0.0
        return (elements / lanes, 0.0) if stride == 1 else (0.0, elements)

    accesses = gathers = 0.0
    for tensor in computation.inputs:
        whole, single = vectors(tensor, covered)
        again = 1.0
        if steady is not None and loops[steady].variable not in strides[tensor.name]:
            again = rounds
        accesses += whole / again
        gathers += single / again
    fmas = size / lanes
    blocks = before[-1] / size
    whole, single = vectors(out, covered)
    totals = whole + single
    at = register_tile(computation, nest)
    chain = spilled = tiles = 0.0
    if at < len(loops):
        tile = sum(vectors(out, _covered(computation, nest, extents, at)))
        tiles = before[at] * tile
        if steady is not None and loops[steady].variable not in strides[out.name]:
            chain = fmas / totals
        too_many = max(0.0, tile + OPERANDS - REGISTERS)
        spilled = blocks * totals * min(1.0, too_many / tile)
    else:
        accesses += 2 * whole
        gathers += 2 * single
    forward = 0.0
    sums = [i for i, x in enumerate(loops) if not inside[i] and x.variable not in strides[out.name]]
    if at == len(loops) and sums:
        forward = before[sums[-1] + 1]
    is_sum = nest.vector and inner not in strides[out.name]
    elements = math.prod(computation.shape(out))
    contiguous = strides[out.name][nest.write[-1].variable] == 1
    lines = [_lines(computation, nest, extents, trips, before, size) for size in caches]
    others = {
        "block": blocks,
        "gather": blocks * gathers,
        "tile": tiles,
        "spill": spilled,
        "horizontal": before[last] if is_sum else 0.0,
        "loop": sum(before[i + 1] for i in range(len(loops)) if not inside[i] and i != steady),
        "write": elements / WIDTH if contiguous else 0.0,
        "scatter": 0.0 if contiguous else elements,
        "line_l2": lines[0],
        "line_l3": lines[1],
    }
    core = {
        "fma": blocks * fmas,
        "access": blocks * accesses,
        "chain": blocks * chain,
        "forward": forward,
    }
    return Counts(core, others)


def crowding(computation: Computation, tensor: Tensor) -> int:
    """Rows of a tensor begin at every so many-th set of the first cache: their distance is a
    multiple of so many lines, a power of 2."""
    distance = computation.shape(tensor)[-1]
    if distance % LINE_FLOATS:
        return 1
    return math.gcd(distance // LINE_FLOATS, SETS)


def _names(computation: Computation) -> tuple[str, ...]:
    return computation.variables


def _axes(tensor: Tensor, covers: Mapping[str, float]) -> list[float]:
    """What is covered of each axis of a tensor, in elements."""
    return [1 + sum(f * (covers[v] - 1) for v, f in axis) for axis in tensor.axes]


def _covered(
    computation: Computation, nest: Nest, extents: list[int], begin: int
) -> dict[str, float]:
    """What the loops from a place on cover of each variable."""
    found = {v: 1.0 for v in computation.variables}
    for i in range(len(extents) - 1, begin - 1, -1):
        found[nest.compute[i].variable] = float(extents[i])
    return found


def _lines(
    computation: Computation,
    nest: Nest,
    extents: list[int],
    trips: list[float],
    before: list[float],
    size: int,
) -> float:
    """Lines that come into a cache of so many bytes: the outermost loops within which all that they
    touch fits load it once for each time they are entered."""
    total, left = 0.0, 1.0
    for i in range(len(extents) + 1):
        covers = _covered(computation, nest, extents, i)
        touched, bytes_ = [], 0.0
        for tensor in computation.tensors:
            *outer, inner = _axes(tensor, covers)
            rows, of_row = math.prod(outer), 1 + (inner - 1) / LINE_FLOATS
            crowd = max(1.0, min(crowding(computation, tensor) / of_row, rows))
            touched.append(rows * of_row)
            bytes_ += 4 * LINE_FLOATS * rows * of_row * crowd
        fits = min(1.0, max(0.0, NO_FIT - bytes_ / size))
        if i > 0:
            around = nest.compute[i - 1].variable
            come = sum(
                lines * before[i] / (1.0 if around in tensor.variables else trips[i - 1])
                for lines, tensor in zip(touched, computation.tensors, strict=True)
            )
            total += left * fits * come
        left *= 1 - fits
    return total
