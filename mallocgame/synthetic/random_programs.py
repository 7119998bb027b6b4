"""Random programs: small odd ones for tests, big ones for speed, and ones with a known optimum.

`random_program` is meant to find disagreements: on a tiny machine it mixes everything that the data
model allows (nested loops, carried groups and chains of them, updates in place, reservations,
pinned, zero-sized and oversized values, calibrated times).  `sized_program` resembles a training
step and is as large as requested.  All are deterministic for a given generator.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from mallocgame.program import (
    Access,
    CarriedGroup,
    Instruction,
    Loop,
    Program,
    Value,
    validate,
)
from mallocgame.program.latency import access_seconds, bus_seconds, elapsed_time
from mallocgame.program.machine import MIB, PRESETS, Machine
from mallocgame.synthetic.known_optimum import known_optimum_program

__all__ = ["known_optimum_program", "random_program", "sized_program"]


def random_program(
    rng: np.random.Generator,
    *,
    instructions: int = 24,
    values: int = 12,
    max_capacity_bytes: int = 1024,
    loop_depth: int = 3,
    name: str = "random",
) -> Program:
    """A valid program with every oddity, on a machine so small that everything is contested.

    Args:
      instructions: about how many slots; loops add their markers.
      values: how many values; results of carried groups may add some.
      max_capacity_bytes: the fast memory is between 64 bytes and this.
      loop_depth: how deep loops may nest, 0 for no loops.
    """
    while True:
        builder = _ProgramBuilder(rng, _Style.draw(rng, max_capacity_bytes), values)
        for _ in range(int(rng.integers(1, max(2, values // 2)))):
            builder.new_value(is_input=True)
        builder.body(instructions, loop_depth)
        program = builder.program(name)
        validate(program, name)
        if in_proportion(program):
            return program


def in_proportion(program: Program) -> bool:
    """Whether the slow bus's times are of the latency's order, so that ticks fit into 32 bits."""
    at = [a.instruction for a in program.accesses]
    slow_s, _ = access_seconds(program)
    fixed_bus_s, bus_s = bus_seconds(program)
    times = {"read": [i.fixed_read_s for i in program.instructions]}
    times["write"] = [i.fixed_write_s for i in program.instructions]
    for t, access, seconds in zip(at, program.accesses, slow_s, strict=True):
        times[access.kind][t] += float(seconds)
    compute = np.array([i.compute_s for i in program.instructions])
    elapsed = elapsed_time(compute, np.array(times["read"]), np.array(times["write"]))
    np.add.at(fixed_bus_s, at, bus_s)
    return bool(fixed_bus_s.max() <= 1.9 * (np.array(program.weights) * elapsed).sum())


@dataclasses.dataclass(frozen=True)
class _Style:
    """The character of one random program: probabilities unless stated otherwise."""

    machine: Machine
    sizes: tuple[int, ...]  # bytes; a small choice makes equal sizes likely
    loops: float
    calibrated: float
    memory_bound: float
    reserved: float
    updates: float
    gaps: float  # per slot, that it was a carried parameter's last use
    reads: float  # mean number per instruction

    @staticmethod
    def draw(rng: np.random.Generator, max_capacity_bytes: int) -> _Style:
        alignment = int(rng.choice([1, 8, 16, 64]))
        units = int(rng.integers(64 // alignment, max_capacity_bytes // alignment + 1))
        capacity = alignment * max(units, 1)
        if rng.random() < 0.4:
            # One to four values of one size fill the memory, so that whole places change hands.
            few = capacity // rng.integers(1, 5, size=int(rng.integers(1, 3)))
        else:
            few = rng.integers(1, max(2, capacity // 2), size=int(rng.integers(2, 7)))
        bandwidth = float(rng.choice([1.0, 3.0, 1e9]))
        machine = Machine("small", capacity, alignment, bandwidth, 8 * bandwidth)
        if rng.random() < 0.3:
            # Carried groups that are worth holding, and other values that want their place.
            some = tuple(int(capacity // k) for k in rng.integers(1, 4, size=2))
            return _Style(machine, some, 0.4, 0.0, 0.5, 0.02, 0.1, gaps=0.5, reads=1.5)
        return _Style(
            machine,
            tuple(int(size) for size in few),
            loops=float(rng.choice([0.0, 0.1, 0.25, 0.4])),
            calibrated=float(rng.choice([0.0, 0.5, 1.0])),
            memory_bound=float(rng.uniform(0, 1)),
            reserved=float(rng.choice([0.0, 0.1, 0.3])),
            updates=float(rng.choice([0.0, 0.15, 0.4])),
            gaps=float(rng.choice([0.0, 0.3])),
            reads=float(rng.uniform(0.5, 2.5)),
        )


class _ProgramBuilder:
    """Walks through a schedule that it makes up, and tracks which values may still be used."""

    def __init__(self, rng: np.random.Generator, style: _Style, values: int):
        self.rng, self.style, self.budget = rng, style, values
        self.instructions: list[Instruction] = []
        self.values: list[Value] = []
        self.accesses: list[Access] = []
        self.loops: list[Loop] = []
        self.carried: list[CarriedGroup] = []
        self.around: list[int] = []  # loops around the current slot, outermost first
        self.usable: list[int] = []
        self.born_in: dict[int, tuple[int, ...]] = {}  # value -> loops around its definition
        self.parameters: set[int] = set()  # of any group: no outputs
        self.carried_over: dict[int, set[int]] = {}  # loop -> members of its groups

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def new_value(self, is_input: bool = False, size: int | None = None) -> int:
        v, capacity = len(self.values), self.style.machine.fast_capacity_bytes
        if size is None:
            kind = self.rng.random()
            size = int(self.rng.choice(self.style.sizes))
            if kind < 0.08:
                size = 0
            elif kind < 0.14:
                size = capacity + int(self.rng.integers(1, capacity))
            elif kind < 0.17:
                size = capacity
        pinned = self.chance(0.05)
        self.values.append(Value(f"v{v}", size, is_input=is_input, is_pinned=pinned))
        self.born_in[v] = tuple(self.around)
        if is_input:
            self.usable.append(v)
        return v

    def body(self, slots: int, depth: int, pending: list[tuple[int, int]] | None = None) -> None:
        """Emits about `slots` slots of one level; `pending`: (parameter, result) of its loop."""
        pending = [] if pending is None else pending
        until = len(self.instructions) + slots
        while len(self.instructions) < until:
            if depth and until - len(self.instructions) > 3 and self.chance(self.style.loops):
                self.loop(int(self.rng.integers(1, until - len(self.instructions) - 2)), depth - 1)
            else:
                rate = (0.5 if self.style.gaps else 2) / max(slots, 2)
                now = [pair for pair in pending if self.chance(rate)]
                self.operation(now)
                pending = [pair for pair in pending if pair not in now]
                done = {parameter for parameter, _ in pending if self.chance(self.style.gaps)}
                self.usable = [v for v in self.usable if v not in done]
        if pending or not self.around:
            self.operation(pending)

    def loop(self, slots: int, depth: int) -> None:
        index, entry = len(self.loops), len(self.instructions)
        self.loops.append(Loop(entry, -1, 1))
        self.marker("entry")
        parameters = [v for v in self.usable if self.may_be_parameter(v)]
        self.rng.shuffle(parameters)
        chosen = parameters[: int(self.rng.integers(1 if self.style.gaps else 0, 3))]
        self.around.append(index)
        pairs = []
        for parameter in chosen:
            result = self.new_value(size=self.values[parameter].size_bytes)
            self.carried.append(CarriedGroup(index, parameter, result))
            self.parameters.add(parameter)
            pairs.append((parameter, result))
        self.carried_over[index] = {v for pair in pairs for v in pair}
        born = len(self.values)
        self.body(slots, depth, pairs)
        self.around.pop()
        # Large products of trip counts would leave an instruction's own time only a few ticks.
        trips = int(self.rng.choice([1, 2, 3, 10], p=[0.1, 0.4, 0.3, 0.2]))
        self.loops[index] = Loop(entry, len(self.instructions), trips)
        self.marker("exit")
        # Most of what a body defines is not used outside it.
        self.usable = [v for v in self.usable if v < born or self.chance(0.3)]

    def may_be_parameter(self, v: int) -> bool:
        """A group's parameter crosses no other loop around it, and is in no group of these."""
        if any(v in self.carried_over[loop] for loop in self.around):
            return False
        inside = not self.around or (
            self.around[-1] in self.born_in[v] and not self.values[v].is_input
        )
        return inside and self.chance(0.7)

    def marker(self, kind: str) -> None:
        capacity = self.style.machine.fast_capacity_bytes
        reserved = int(self.rng.integers(0, capacity // 2)) if self.chance(0.03) else 0
        name = f"{kind}{len(self.instructions)}"
        self.instructions.append(Instruction(name, kind, reserved_bytes=reserved))

    def operation(self, groups: list[tuple[int, int]]) -> None:
        """Emits an instruction; `groups` are those whose results it defines."""
        t, rng = len(self.instructions), self.rng
        reads = {p for p, _ in groups if p in self.usable and self.chance(0.7)}
        count = min(int(rng.poisson(self.style.reads)), len(self.usable))
        if count:
            # Recent values are read most, and so are parameters that are soon gone.
            weights = 0.15 + np.exp(-np.arange(len(self.usable))[::-1] / 3.0)
            weights[[v in self.parameters for v in self.usable]] += 1.0
            drawn = rng.choice(self.usable, count, replace=False, p=weights / weights.sum())
            reads |= {int(v) for v in drawn}
        dead = {parameter for parameter, _ in groups}
        self.usable = [v for v in self.usable if v not in dead]
        writes = {result: True for _, result in groups}
        if self.usable and self.chance(self.style.updates):
            writes[int(rng.choice(self.usable))] = False
        while len(self.values) < self.budget and self.chance(0.5):
            writes[self.new_value()] = True
        operands = rng.permutation(2 * len(reads) + 1)
        for i, v in enumerate(rng.permutation(sorted(reads)).astype(int).tolist()):
            several = tuple(sorted(int(o) for o in operands[2 * i : 2 * i + 1 + rng.integers(2)]))
            self.access(t, v, "read", () if self.chance(0.1) else several)
        for i, v in enumerate(rng.permutation(sorted(writes)).astype(int).tolist()):
            self.access(t, v, "write", (i,), writes[v])
        self.usable += [v for v, defines in writes.items() if defines]
        self.instructions.append(self.instruction(t))

    def access(
        self, t: int, v: int, kind: str, operands: tuple[int, ...], defines: bool = False
    ) -> None:
        size = self.values[v].size_bytes
        moved = int(size * self.rng.choice([0.25, 1.0, 1.0, 1.0, 2.0]))
        slow_s = fast_s = None
        if self.chance(self.style.calibrated):
            full = max(moved, 1) / self.style.machine.slow_bandwidth
            # Some accesses are so small that the game decides them itself.
            slow_s = full * float(self.rng.choice([0.0, 1e-7, 0.5, 1.0, 1.5, 3.0]))
            fast_s = slow_s * float(self.rng.choice([0.0, 0.1, 0.5, 1.0]))
        self.accesses.append(Access(t, v, kind, operands, moved, slow_s, fast_s, defines))

    def instruction(self, t: int) -> Instruction:
        rng, machine = self.rng, self.style.machine
        traffic_s = sum(a.bytes for a in self.accesses if a.instruction == t)
        traffic_s = max(traffic_s, min(self.style.sizes)) / machine.slow_bandwidth
        compute_s = 0.0
        if not self.chance(self.style.memory_bound):
            compute_s = traffic_s * float(rng.choice([0.3, 1.0, 2.0, 5.0]))
        read_s = write_s = 0.0
        fixed = 0
        if self.chance(0.15):
            fixed = int(rng.integers(1, machine.fast_capacity_bytes))
            read_s = fixed / machine.slow_bandwidth * float(rng.choice([0.0, 0.5, 1.0, 2.0]))
            write_s = read_s * float(rng.choice([0.0, 0.5]))
        reserved = 0
        if self.chance(self.style.reserved):
            most = machine.fast_capacity_bytes // (1 if self.chance(0.1) else 2)
            reserved = int(rng.integers(1, most + 1))
        return Instruction(f"i{t}", "", compute_s, read_s, write_s, fixed, reserved)

    def program(self, name: str) -> Program:
        """The program, with outputs chosen and the values renumbered at random."""
        written = {a.value for a in self.accesses if a.kind == "write"}
        order = self.rng.permutation(len(self.values)).astype(int).tolist()
        new = {old: i for i, old in enumerate(order)}
        values = tuple(
            dataclasses.replace(
                self.values[v],
                is_output=v not in self.parameters
                and (v in written or self.values[v].is_input)
                and self.chance(0.2),
            )
            for v in order
        )
        accesses = [dataclasses.replace(a, value=new[a.value]) for a in self.accesses]
        carried = (CarriedGroup(g.loop, new[g.parameter], new[g.result]) for g in self.carried)
        return Program(
            name,
            self.style.machine,
            tuple(self.instructions),
            values,
            tuple(accesses[i] for i in self.rng.permutation(len(accesses))),
            tuple(self.loops),
            tuple(carried),
        )


def sized_program(rng: np.random.Generator, *, accesses: int, name: str = "sized") -> Program:
    """A training step with about `accesses` accesses on a TPU v4 core, for measurements of speed.

    A chain of layers (a matrix product, then an elementwise operation with a skip connection) and
    its backward pass, which reads activations and weights again and writes gradients.  Each layer
    makes 15 accesses; together the values are many times the size of the fast memory.
    """
    machine = PRESETS["tpu_v4"]
    layers = max(1, round(accesses / 15))
    instructions: list[Instruction] = []
    values: list[Value] = []
    table: list[Access] = []

    def value(label: str, low_mib: float, high_mib: float, **flags: bool) -> int:
        size = int(rng.uniform(low_mib, high_mib) * MIB) // 512 * 512
        values.append(Value(f"{label}.{len(values)}", size, **flags))
        return len(values) - 1

    def emit(opcode: str, reads: list[int], write: int, intensity: float) -> None:
        t = len(instructions)
        for i, v in enumerate(dict.fromkeys(reads)):
            table.append(Access(t, v, "read", (i,), values[v].size_bytes))
        table.append(Access(t, write, "write", (0,), values[write].size_bytes, defines=True))
        moved = sum(a.bytes for a in table[-1 - len(set(reads)) :])
        compute_s = intensity * moved / machine.slow_bandwidth
        instructions.append(Instruction(f"{opcode}.{t}", opcode, compute_s))

    activations = [value("x", 2, 16, is_input=True)]
    weights, products = [], []
    for _ in range(layers):
        weights.append(value("w", 1, 8, is_input=True))
        products.append(value("h", 2, 16))
        emit("dot", [activations[-1], weights[-1]], products[-1], float(rng.uniform(0.5, 3.0)))
        following = value("x", 2, 16)
        emit("fusion", [products[-1], activations[-1]], following, float(rng.uniform(0.0, 0.3)))
        activations.append(following)
    gradient = activations[-1]
    for i in reversed(range(layers)):
        through = value("g", 2, 16)
        emit("dot", [gradient, weights[i]], through, float(rng.uniform(0.5, 3.0)))
        step = value("dw", 1, 8, is_output=True)
        emit("dot", [gradient, activations[i]], step, float(rng.uniform(0.5, 3.0)))
        gradient = value("g", 2, 16, is_output=i == 0)
        emit("fusion", [through, products[i]], gradient, float(rng.uniform(0.0, 0.3)))
    program = Program(name, machine, tuple(instructions), tuple(values), tuple(table))
    validate(program, name)
    return program
