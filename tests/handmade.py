"""Little programs written down slot by slot, for answers worked out by hand.

The slow bus moves 1 byte a second and fast memory takes no time worth counting, so that sizes are
seconds: an access in slow memory costs the value's size, a copy demands it.
"""

from __future__ import annotations

import dataclasses

from mallocgame.config import GameConfig
from mallocgame.machine import Machine
from mallocgame.oracle import Oracle
from mallocgame.program import Access, CarriedGroup, Instruction, Loop, Program, Value, validate

FREE = GameConfig(inert_fraction=0.0)


@dataclasses.dataclass(frozen=True)
class Slot:
    """One instruction; reads, defines and updates are names of values, in operand order."""

    compute: float = 0.0
    reads: str = ""
    defines: str = ""
    updates: str = ""
    reserved: int = 0


MARKER = Slot()


def value(size: int, **flags: bool) -> Value:
    return Value("", size, **flags)


def program(
    capacity: int,
    values: dict[str, Value],
    slots: list[Slot],
    loops: tuple[Loop, ...] = (),
    groups: tuple[tuple[int, str, str], ...] = (),
    alignment: int = 1,
) -> Program:
    """A validated program; a group is (loop, parameter, result)."""
    index = {name: i for i, name in enumerate(values)}
    accesses = []
    for t, slot in enumerate(slots):
        rows = [(name, "read", False) for name in slot.reads.split()]
        rows += [(name, "write", True) for name in slot.defines.split()]
        rows += [(name, "write", False) for name in slot.updates.split()]
        for i, (name, kind, defines) in enumerate(rows):
            size = values[name].size_bytes
            # A value of zero bytes costs a second too, or it would not be worth a question.
            slow_s = float(max(size, 1))
            accesses.append(Access(t, index[name], kind, (i,), size, slow_s, 0.0, defines))
    made = Program(
        "handmade",
        Machine("handmade", capacity, alignment, 1.0, 1e9),
        tuple(
            Instruction(f"i{t}", compute_s=s.compute, reserved_bytes=s.reserved)
            for t, s in enumerate(slots)
        ),
        tuple(dataclasses.replace(v, name=name) for name, v in values.items()),
        tuple(accesses),
        loops,
        tuple(CarriedGroup(loop, index[p], index[r]) for loop, p, r in groups),
    )
    validate(made)
    return made


def start(made: Program, config: GameConfig = FREE, **changes) -> Oracle:
    return Oracle(made, dataclasses.replace(config, **changes))


def asked(oracle: Oracle) -> tuple[str, str, int] | None:
    """The question with the value's name."""
    if oracle.question is None:
        return None
    kind, v, t = oracle.question
    return kind, oracle.program.values[v].name, t


def play(oracle: Oracle, *moves: tuple[str, str, int, int]) -> float:
    """Plays (kind, name, slot, action) and checks that just this is asked; returns the rewards."""
    total = 0.0
    for *question, action in moves:
        assert asked(oracle) == tuple(question)
        total += oracle.step(action)
    return total


def seconds(oracle: Oracle) -> float:
    """Latency saved so far."""
    return oracle.saved_ticks * oracle.tables.tick_s
