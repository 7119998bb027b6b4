"""Little programs written down slot by slot, for answers worked out by hand.

The slow bus moves 1 byte a second and fast memory takes no time worth counting, so that sizes are
seconds: an access in slow memory costs the value's size, a copy demands it.
"""

from __future__ import annotations

import dataclasses

import pytest

from mallocgame.game.options import GameConfig
from mallocgame.oracle import Oracle
from mallocgame.program import Access, CarriedGroup, Instruction, Loop, Program, Value, validate
from mallocgame.program.machine import Machine

# Rules are told apart more easily where a copy must be fed in time.
FREE = GameConfig(inert_fraction=0.0, late_prefetch="illegal")
A_BIT = 1e-4  # seconds by which idle times exceed a demand that they just meet: ticks round it up


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


def approx(expected: float):
    """The number, up to rounding to ticks."""
    return pytest.approx(expected, abs=1e-6)


def stays(oracle: Oracle) -> dict[str, list[tuple[int, int, int, str]]]:
    """(offset, start, end, arrival) of every residency of the finished game, by name."""
    found: dict[str, list[tuple[int, int, int, str]]] = {}
    for r in oracle.mapping().residencies:
        name = oracle.program.values[r.value].name
        found.setdefault(name, []).append((r.offset, r.start, r.end, r.arrival))
    return found


# --- Programs; those who play them by hand say what happens and why ---


def gaps(size: int) -> Program:
    """When e is defined, [0, 30), [40, 60) and [70, 100) are free."""
    values = {"a": value(30), "b": value(10), "c": value(20), "d": value(10), "e": value(size)}
    slots = [Slot(defines=name) for name in "abcd"]
    slots += [Slot(reads="a c"), Slot(defines="e"), Slot(reads="b d e")]
    return program(100, values, slots)


def prefetching() -> Program:
    """Idle: 8 s in slot 0, none in slot 1, 4 s in slot 2; a, b, c are read in slot 3."""
    values = {"a": value(10, is_input=True), "b": value(2, is_input=True)}
    values |= {"c": value(1, is_input=True), "x": value(40, is_input=True, is_pinned=True)}
    slots = [Slot(compute=8 + A_BIT), Slot(reads="x"), Slot(compute=4), Slot(reads="a b c")]
    return program(64, values, slots)


def evicting() -> Program:
    """a (5 s) and b (3 s) are dirty and may leave at slot 1; then 4, 3, 3 s are idle."""
    values = {"a": value(5), "b": value(3), "c": value(2, is_input=True)}
    slots = [Slot(defines="a b"), Slot(reads="a b")]
    slots += [Slot(compute=4 + A_BIT), Slot(compute=3), Slot(compute=3), Slot(reads="c a b")]
    return program(8, values, slots)


def late() -> Program:
    """v is dropped dirty at slot 1 and read again at slot 2, before its eviction can be done."""
    slots = [Slot(defines="v"), Slot(reads="v"), Slot(reads="v"), Slot(compute=6), Slot(reads="v")]
    return program(8, {"v": value(5)}, slots)


def reserved() -> Program:
    """v (5 s) cannot be evicted between slot 1 and the reservation of slot 2."""
    values = {"v": value(5), "w": value(3)}
    slots = [Slot(defines="w"), Slot(defines="v"), Slot(reads="v w")]
    slots += [Slot(reserved=8), Slot(compute=9), Slot(reads="v")]
    return program(8, values, slots)


def carried(**result_flags: bool) -> Program:
    """p (4 s) is carried as r, three times; q (4 s) is alive between p's last use and r.

    Slots: 0 idle, 1 entry, 2 reads p, 3 defines q, 4 reads q, 5 defines r, 6 exit, 7 reads r.
    """
    values = {"p": value(4, is_input=True), "q": value(4), "r": value(4, **result_flags)}
    slots = [Slot(compute=9), MARKER, Slot(reads="p"), Slot(defines="q"), Slot(reads="q")]
    slots += [Slot(defines="r"), MARKER, Slot(reads="r")]
    return program(4, values, slots, (Loop(1, 6, 3),), ((0, "p", "r"),))


def occupied() -> Program:
    """As `carried`, but q is read again in slot 6, where r has taken the place.

    Slots: 0 idle, 1 entry, 2 reads p, 3 defines q, 4 reads q, 5 defines r, 6 reads q, 7 exit.
    """
    values = {"p": value(4, is_input=True), "q": value(4), "r": value(4)}
    slots = [Slot(compute=9), MARKER, Slot(reads="p"), Slot(defines="q"), Slot(reads="q")]
    slots += [Slot(defines="r"), Slot(reads="q"), MARKER, Slot(compute=3, reads="r")]
    return program(4, values, slots, (Loop(1, 7, 3),), ((0, "p", "r"),))


def reentered() -> Program:
    """A group that fails as in `occupied`, and a reservation that meets u's eviction later.

    Slots: 0 defines u and p, 1 idle, 2 entry, 3 reads p, 4 defines q, 5 reads q, 6 defines r,
    7 reads q, 8 exit, 9 reads r, 10 reads u, 11 is reserved, 12 idle, 13 reads u.
    """
    values = {"u": value(2), "p": value(4), "q": value(4), "r": value(4)}
    slots = [Slot(defines="u p"), Slot(compute=20), MARKER, Slot(reads="p"), Slot(defines="q")]
    slots += [Slot(reads="q"), Slot(defines="r"), Slot(reads="q"), MARKER, Slot(reads="r")]
    slots += [Slot(reads="u"), Slot(reserved=8), Slot(compute=9), Slot(reads="u")]
    return program(8, values, slots, (Loop(2, 8, 3),), ((0, "p", "r"),))


def all_programs() -> list[Program]:
    made = [gaps(20), prefetching(), evicting(), late(), reserved(), carried()]
    return [*made, carried(is_output=True), carried(is_pinned=True), occupied(), reentered()]
