"""Random programs have every oddity, and random play meets every rule; known optima are reached."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from mallocgame.game.options import GameConfig
from mallocgame.judge import verify
from mallocgame.oracle import COPY, DROP, NO_COPY, Oracle
from mallocgame.oracle.tables import OracleTables
from mallocgame.program import Program, load_program, save_program, validate
from mallocgame.synthetic.random_programs import (
    known_optimum_program,
    random_program,
    sized_program,
)
from tests.support.packing import pack

SEEDS = 400
CONFIGS = (
    GameConfig(),
    GameConfig(inert_fraction=0.0),
    GameConfig(rules="paper"),
)


@pytest.fixture(scope="module")
def programs() -> list[Program]:
    return [random_program(np.random.default_rng(seed)) for seed in range(SEEDS)]


def _inside(program: Program, t: int) -> list[int]:
    return [i for i, loop in enumerate(program.loops) if loop.entry < t < loop.exit]


def _oddities(program: Program) -> set[str]:
    """What the program has of the things that the data model allows."""
    found = set()
    machine, values = program.machine, program.values
    times: dict[int, list[tuple[int, str, bool]]] = {v: [] for v in range(len(values))}
    for t, row in enumerate(program.accesses_at):
        found |= {"several operands"} if any(len(a.operands) > 1 for a in row) else set()
        read = {a.value for a in row if a.kind == "read"}
        for a in row:
            times[a.value].append((t, a.kind, a.defines))
            if a.kind == "write" and not a.defines:
                found.add("update and read" if a.value in read else "update alone")
            found.add("uncalibrated" if a.slow_s is None else "calibrated")
            if a.slow_s is not None and a.slow_s == a.fast_s:
                found.add("access without gain")
    for v, value in enumerate(values):
        uses, size = times[v], value.size_bytes
        reads = [t for t, kind, _ in uses if kind == "read"]
        defined = [t for t, _, defines in uses if defines]
        flags = {
            "input": value.is_input,
            "input without accesses": value.is_input and not uses,
            "input that is an output": value.is_input and value.is_output,
            "output without reads": value.is_output and bool(defined) and not reads,
            "value nobody needs": bool(defined) and not reads and not value.is_output,
            "pinned": value.is_pinned,
            "zero size": size == 0,
            "oversized": size > machine.fast_capacity_bytes,
            "whole memory": size == machine.fast_capacity_bytes,
            "unaligned size": bool(size % machine.alignment_bytes),
        }
        found |= {name for name, holds in flags.items() if holds}
        groups = [g for g in program.carried if v in (g.parameter, g.result)]
        for i, loop in enumerate(program.loops):
            body = [t for t, *_ in uses if loop.entry < t < loop.exit]
            if body and len(body) < len(uses) and not any(g.loop == i for g in groups):
                born_inside = bool(defined) and loop.entry < defined[0] < loop.exit
                found.add("live out of a loop" if born_inside else "invariant")
    if len({v.size_bytes for v in values if v.size_bytes}) < sum(v.size_bytes > 0 for v in values):
        found.add("equal sizes")
    for loop in program.loops:
        found.add("nested loops" if _inside(program, loop.entry) else "loop")
    for group in program.carried:
        found |= _group_oddities(program, group, times)
    for t, ins in enumerate(program.instructions):
        bus_s = sum(a.bytes for a in program.accesses_at[t]) / machine.slow_bandwidth
        found |= {"fixed traffic"} if ins.fixed_slow_bytes else set()
        if ins.reserved_bytes:
            found.add("reservation in a loop" if _inside(program, t) else "reservation")
        if bus_s:
            found.add("compute bound" if ins.compute_s > bus_s else "memory bound")
    return found


def _group_oddities(program: Program, group, times) -> set[str]:
    loop = program.loops[group.loop]
    body = [t for t, *_ in times[group.parameter] if loop.entry < t < loop.exit]
    defined = next(t for t, _, defines in times[group.result] if defines)
    parameters = {g.parameter for g in program.carried}
    pinned = {program.values[v].is_pinned for v in (group.parameter, group.result)}
    flags = {
        "group in a nested loop": bool(_inside(program, loop.entry)),
        "group with a gap": bool(body) and max(body) < defined - 1,
        "group without a gap": bool(body) and max(body) == defined,
        "group whose parameter is not used": not body,
        "parameter used in an inner loop": any(_inside(program, t)[-1:] != [group.loop]
                                               and len(_inside(program, t)) > 1 for t in body),
        "parameter updated": any(kind == "write" for t, kind, _ in times[group.parameter]
                                 if t in body),
        "chained groups": group.result in parameters,
        "group with one pinned member": len(pinned) == 2,
        "two groups of one loop": sum(g.loop == group.loop for g in program.carried) > 1,
    }  # fmt: skip
    return {name for name, holds in flags.items() if holds}


ODDITIES = """
access without gain; calibrated; chained groups; compute bound; equal sizes; fixed traffic;
group in a nested loop; group whose parameter is not used; group with a gap;
group with one pinned member; group without a gap; input; input that is an output;
input without accesses; invariant; live out of a loop; loop; memory bound; nested loops;
output without reads; oversized; parameter updated; parameter used in an inner loop; pinned;
reservation; reservation in a loop; several operands; two groups of one loop; unaligned size;
uncalibrated; update alone; update and read; value nobody needs; whole memory; zero size
"""


def test_every_oddity_occurs(programs: list[Program]):
    count = Counter(oddity for program in programs for oddity in _oddities(program))
    wanted = {" ".join(name.split()) for name in ODDITIES.split(";")}
    assert set(count) == wanted
    assert min(count.values()) >= 5, count.most_common()[-5:]


def _random_game(oracle: Oracle, rng: np.random.Generator) -> Counter[str]:
    """Plays at random and counts what happens."""
    count: Counter[str] = Counter()
    while oracle.question is not None:
        legal = [action for action in (COPY, NO_COPY, DROP) if oracle.legal[action]]
        action = int(rng.choice(legal[:-1])) if rng.random() < 0.75 else DROP
        kind, _, slot = oracle.question
        marker = any(slot in (loop.entry, loop.exit) for loop in oracle.program.loops)
        written_back = oracle.evictions
        reward = oracle.step(action)
        count[f"{kind}{' at a marker' if marker else ''} {action}"] += 1
        count["negative reward"] += reward < 0
        now = oracle.evictions[: len(written_back)]
        count["waits for a write-back"] += now != written_back
    return count


def test_random_play_meets_every_rule(programs: list[Program]):
    count: Counter[str] = Counter()
    for seed, program in enumerate(programs):
        rng = np.random.default_rng(seed)
        for config in CONFIGS:
            oracle = Oracle(program, config)
            count += _random_game(oracle, rng)
            count += _happened(oracle)
    events = """
        copy in the reader's slot; define 1; define 2; depart 1; depart 2; depart at a marker 1;
        depart at a marker 2; group held; illegal copy; negative reward; overdraft; prefetch;
        read 0; read 1; read 2; read at a marker 0; read at a marker 1; read at a marker 2;
        slow memory holds it early; stalled write-back; two stays of one value;
        waits for a write-back; write-back over several slots
    """
    wanted = {" ".join(name.split()) for name in events.split(";")}
    assert {name for name in wanted if count[name] < 3} == set(), count
    assert set(+count) == wanted


def _happened(oracle: Oracle) -> Counter[str]:
    """What a finished game tells."""
    program, count = oracle.program, Counter()
    residencies = oracle.residencies()
    count["two stays of one value"] += len({r.value for r in residencies}) < len(residencies)
    count["group held"] += any(r.tied is not None for r in residencies)
    count["overdraft"] += oracle.overdraft_ticks > 0
    for prefetch in oracle.prefetches:
        late = prefetch.start == prefetch.end
        count["copy in the reader's slot" if late else "prefetch"] += 1
    for eviction in oracle.evictions:
        end = max(r.end for r in residencies if r.value == eviction.value)
        count["write-back over several slots"] += eviction.end > eviction.start + 1
        count["stalled write-back"] += eviction.end == eviction.start
        count["slow memory holds it early"] += end > eviction.end
    prefetched = {(p.value, p.end) for p in oracle.prefetches}
    for t, row in enumerate(program.accesses_at):
        for a in row:
            slow = a.kind == "read" and oracle.tables.in_play[a.value]
            there = any(r.value == a.value and r.covers(t) for r in residencies)
            count["illegal copy"] += slow and not there and (a.value, t) not in prefetched
    return count


def test_random_programs_are_reproducible_and_survive_a_file(tmp_path):
    one, two = (random_program(np.random.default_rng(5)) for _ in range(2))
    assert one == two and one.fingerprint == two.fingerprint
    clocked = one.with_machine(dataclasses.replace(one.machine, clock_hz=1e9))
    save_program(clocked, tmp_path / "one.json.gz")
    assert load_program(tmp_path / "one.json.gz") == clocked


def test_sizes_asked_for():
    rng = np.random.default_rng(0)
    for instructions, values in ((1, 1), (3, 2), (200, 60)):
        program = random_program(rng, instructions=instructions, values=values, loop_depth=0)
        assert not program.loops and len(program.instructions) in (instructions, instructions + 1)
        assert len(program.values) <= values


@pytest.mark.parametrize("seed", range(40))
def test_known_optimum_is_reached(seed: int):
    rng = np.random.default_rng(seed)
    program, optimum, actions = known_optimum_program(rng, turns=4 + seed % 12, lanes=2 + seed % 4)
    validate(program)
    oracle = Oracle(program)
    total = sum(oracle.step(action) for action in actions)
    assert oracle.done and oracle.stall_ticks == oracle.overdraft_ticks == 0
    # The floor itself: nothing can be better.
    assert oracle.saved_ticks == oracle.total_ticks - oracle.tables.floor_ticks
    assert total == pytest.approx(optimum, abs=1e-5)
    assert 0.2 < optimum < 0.95
    capacity = program.machine.fast_capacity_bytes
    assert max(oracle.used) == capacity
    offsets = pack(program, oracle.residencies())
    assert isinstance(offsets, list) and verify(program, oracle.mapping(offsets)) == []


def test_decoys_tempt():
    """Taking all that is legal does not reach the optimum: the decoys take the places."""
    worse = 0
    for seed in range(20):
        program, optimum, _ = known_optimum_program(np.random.default_rng(seed))
        oracle = Oracle(program)
        while not oracle.done:
            oracle.step(oracle.legal.index(True))
        worse += oracle.saved_ticks / oracle.total_ticks < optimum - 0.01
    assert worse >= 18


def test_sized_program():
    program = sized_program(np.random.default_rng(0), accesses=8000)
    assert 7500 < len(program.accesses) < 8500
    tables = OracleTables(dataclasses.replace(program, accesses=program.accesses[:3000]), 1e-6)
    assert sum(tables.in_play) > 500
    live = Counter()
    for v, _ in enumerate(program.values):
        uses = [a.instruction for a in program.accesses if a.value == v][:2]
        for t in range(uses[0], uses[-1] + 1):
            live[t] += program.values[v].size_bytes
    # Far more is alive than fits.
    assert np.median(list(live.values())) > 2 * program.machine.fast_capacity_bytes
