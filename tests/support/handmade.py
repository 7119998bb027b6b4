"""Little programs written down slot by slot, for answers worked out by hand.

The slow bus moves 1 byte a second and fast memory takes no time worth counting, so that sizes are
seconds: an access in slow memory costs the value's size, a copy demands it.
"""

from __future__ import annotations

import dataclasses

import pytest

from mallocgame.game.options import GameConfig
from mallocgame.oracle import Oracle, Origin
from mallocgame.program import Access, CarriedGroup, Instruction, Loop, Program, Value, validate
from mallocgame.program.machine import Machine

FREE = GameConfig(inert_fraction=0.0)
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


def start(
    made: Program,
    config: GameConfig = FREE,
    forced: tuple[tuple[str, str, int], ...] = (),
    **changes,
) -> Oracle:
    """A game; forced answers are (kind, name of the value, slot)."""
    index = {v.name: i for i, v in enumerate(made.values)}
    origins = {Origin(kind, index[name], t) for kind, name, t in forced}
    return Oracle(made, dataclasses.replace(config, **changes), origins)


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


def taken(oracle: Oracle) -> list[float]:
    """Seconds of supply that copies take, per slot."""
    return [ticks * oracle.tables.tick_s for ticks in oracle.taken]


def approx(expected):
    """The number, or each of a list, up to rounding to ticks."""
    return pytest.approx(expected, abs=1e-5)


def stays(oracle: Oracle) -> dict[str, list[tuple[int, int, str]]]:
    """(start, end, arrival) of every residency of the finished game, by name."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    for stay in oracle.residencies():
        name = oracle.program.values[stay.value].name
        found.setdefault(name, []).append((stay.start, stay.end, stay.arrival))
    return found


def copies(oracle: Oracle) -> tuple[list[tuple[str, int, int]], list[tuple[str, int, int]]]:
    """Prefetches and evictions so far: (name, start, end)."""
    prefetches, evictions = (
        [(oracle.program.values[c.value].name, c.start, c.end) for c in both]
        for both in (oracle.prefetches, oracle.evictions)
    )
    return prefetches, evictions


# --- Programs; those who play them by hand say what happens and why ---


def reaching(capacity: int) -> Program:
    """Idle: 10, 7, 3 and 4 s in slots 0 to 3; a (10 s) is read in slot 2, b (10 s) in slot 4."""
    values = {name: value(10, is_input=True) for name in "ab"}
    slots = [Slot(compute=10 + A_BIT), Slot(compute=7), Slot(compute=3, reads="a")]
    return program(capacity, values, [*slots, Slot(compute=4), Slot(reads="b")])


def waiting_definition(**flags: bool) -> Program:
    """a's write-back from slot 1 finds time in slot 4 only; b is defined in slot 2 meanwhile."""
    values = {"a": value(5), "b": value(5, **flags)}
    slots = [Slot(defines="a"), Slot(reads="a"), Slot(defines="b")]
    slots += [Slot() if flags else Slot(reads="b"), Slot(compute=9), Slot(reads="a")]
    return program(8, values, slots)


def waiting_read() -> Program:
    """c is read in slot 2, where a is still being written back and 4 bytes are reserved."""
    values = {"a": value(5), "c": value(5, is_input=True)}
    slots = [Slot(compute=2, defines="a"), Slot(compute=3, reads="a")]
    slots += [Slot(reads="c", reserved=4), Slot(reads="c"), Slot(compute=9), Slot(reads="a")]
    return program(10, values, slots)


def waiting_departure(updates: str = "v") -> Program:
    """a and v may stay after slot 1, but 4 bytes are reserved in slot 2."""
    values = {"a": value(5), "v": value(5)}
    slots = [Slot(defines="a v"), Slot(reads="a v"), Slot(reserved=4)]
    slots += [Slot(compute=9), Slot(reads="a"), Slot(reads="v", updates=updates)]
    return program(10, values, slots)


def late() -> Program:
    """v may leave dirty at slot 1 and is read again at slot 2."""
    slots = [Slot(defines="v"), Slot(reads="v"), Slot(reads="v"), Slot(compute=6), Slot(reads="v")]
    return program(8, {"v": value(5)}, slots)


def overdrawn() -> Program:
    """a (1 s) is written back in slot 2, which is idle for 2 s while y and z are in slow memory."""
    values = {"a": value(1, is_output=True)}
    values |= {name: value(0, is_input=True) for name in "yz"}
    return program(8, values, [Slot(defines="a"), Slot(), Slot(reads="y z"), Slot()])


def carried(**result_flags: bool) -> Program:
    """p (4 s) is carried as r, three times; q (4 s) is alive between p's last use and r.

    Slots: 0 idle, 1 entry, 2 reads p, 3 defines q, 4 reads q, 5 defines r, 6 exit, 7 reads r.
    """
    values = {"p": value(4, is_input=True), "q": value(4), "r": value(4, **result_flags)}
    slots = [Slot(compute=9), MARKER, Slot(reads="p"), Slot(defines="q"), Slot(reads="q")]
    slots += [Slot(defines="r"), MARKER, Slot(reads="r")]
    return program(4, values, slots, (Loop(1, 6, 3),), ((0, "p", "r"),))


def handed_over() -> Program:
    """As `carried`, but p's last reader defines r.

    Slots: 0 idle, 1 entry, 2 reads p and defines r, 3 idle, 4 exit, 5 reads r.
    """
    values = {"p": value(4, is_input=True), "r": value(4)}
    slots = [Slot(compute=9), MARKER, Slot(reads="p", defines="r"), Slot(compute=1)]
    return program(4, values, [*slots, MARKER, Slot(reads="r")], (Loop(1, 4, 3),), ((0, "p", "r"),))


def nested() -> Program:
    """p is read in an inner loop of two trips; the outer one, of three trips, carries it as r.

    Slots: 0 defines p, 1 entry, 2 entry, 3 reads p, 4 exit, 5 idle, 6 defines r, 7 exit.
    """
    values = {"p": value(4), "r": value(4, is_output=True)}
    slots = [Slot(defines="p"), MARKER, MARKER, Slot(reads="p"), MARKER, Slot(compute=1)]
    slots += [Slot(defines="r"), MARKER]
    return program(4, values, slots, (Loop(1, 7, 3), Loop(2, 4, 2)), ((0, "p", "r"),))


def occupied() -> Program:
    """As `carried`, but q is read again in slot 6, where r has taken the place.

    Slots: 0 idle, 1 entry, 2 reads p, 3 defines q, 4 reads q, 5 defines r, 6 reads q, 7 exit.
    """
    values = {"p": value(4, is_input=True), "q": value(4), "r": value(4)}
    slots = [Slot(compute=9), MARKER, Slot(reads="p"), Slot(defines="q"), Slot(reads="q")]
    slots += [Slot(defines="r"), Slot(reads="q"), MARKER, Slot(compute=3, reads="r")]
    return program(4, values, slots, (Loop(1, 7, 3),), ((0, "p", "r"),))


def full_behind(reserved: int = 8) -> Program:
    """a is still being written back at the entry; where r would lie after it, bytes are reserved.

    Slots: 0 defines a, 1 reads a, 3 entry, 4 reads p and defines r, 6 exit, 7 reads r, 8 reads a.
    """
    values = {"a": value(4), "p": value(8, is_input=True), "r": value(8)}
    slots = [Slot(defines="a"), Slot(reads="a"), Slot(), MARKER, Slot(reads="p", defines="r")]
    slots += [Slot(reserved=reserved), MARKER, Slot(reads="r"), Slot(reads="a")]
    return program(11, values, slots, (Loop(3, 6, 3),), ((0, "p", "r"),))


def long_held() -> Program:
    """a (5 s) may lie over all of 300 slots, and so over many blocks of the game's profile; b and c
    fit beside it in the first ones and near the end."""
    values = {"a": value(5), "b": value(4, is_input=True), "c": value(4)}
    slots = [Slot(compute=5, defines="a"), Slot(reads="b"), Slot(defines="c"), Slot(reads="b c")]
    slots += [Slot(compute=float(t % 3)) for t in range(4, 296)]
    return program(9, values, [*slots, Slot(reads="b"), Slot(reads="c"), Slot(), Slot(reads="a")])


def waiting_long() -> Program:
    """As `waiting_definition`, but a's write-back goes on over 60 slots, and so over many blocks of
    the game's profile, until it is waited for."""
    values = {"a": value(5), "b": value(5)}
    slots = [Slot(defines="a"), Slot(reads="a"), Slot(defines="b"), Slot(reads="b")]
    return program(8, values, [*slots, *[Slot()] * 56, Slot(compute=9), Slot(reads="a")])


def all_programs() -> list[Program]:
    made = [reaching(12), reaching(20), waiting_definition(), waiting_read(), waiting_departure()]
    made += [late(), overdrawn(), carried(), carried(is_output=True), carried(is_pinned=True)]
    return [*made, handed_over(), nested(), occupied(), full_behind(), full_behind(3)]
