"""What a program takes with a mapping: by hand, against the game's return and a plain loop."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mallocgame.judge import elapsed_seconds, simulate, verify
from mallocgame.program import (
    Program,
    Value,
    latency,
)
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, all_slow
from tests.support.judged import (
    HELD,
    IN_BODY,
    STRAIGHT,
    loop_program,
    mapping,
    program,
    random_games,
)


def test_all_slow_by_hand():
    s = simulate(STRAIGHT, all_slow(STRAIGHT))
    # 10 s of writing, 20 s of computing, 30 s of reading, 10 s of reading beside writing
    assert s.elapsed_s.tolist() == [10, 20, 30, 10]
    assert s.latency_s == s.all_slow_latency_s == 70
    assert s.saved_fraction == 0
    assert s.floor_latency_s == 1 + 20 + 5 + 2
    assert not s.stall_s.any() and not s.fast_bytes.any()
    assert s.bus_busy_s.tolist() == [10, 0, 30, 20]


def test_straight_line_by_hand():
    m = mapping([(0, 0, 0, 4, DEFINED), (1, 100, 1, 3, COPIED)], [(1, 1, 2)])
    assert verify(STRAIGHT, m) == []
    s = simulate(STRAIGHT, m)
    assert s.elapsed_s.tolist() == [1, 20, 5, 10]
    assert s.stall_s.tolist() == [0, 0, 0, 0]
    assert s.latency_s == 36 and s.saved_fraction == pytest.approx(34 / 70)
    assert s.prefetch_s.tolist() == [0, 20, 0, 0]
    assert s.fast_bytes.tolist() == [100, 300, 300, 100]


def test_what_supply_lacks_is_a_stall():
    slower = dataclasses.replace(STRAIGHT.instructions[1], compute_s=12.0)
    p = dataclasses.replace(
        STRAIGHT, instructions=(STRAIGHT.instructions[0], slower, *STRAIGHT.instructions[2:])
    )
    m = mapping(
        [(0, 0, 0, 4, DEFINED), (1, 100, 1, 3, COPIED), (2, 300, 3, 4, DEFINED)],
        [(1, 1, 2)],
        [(2, 4, 4)],
    )
    assert verify(p, m) == []
    s = simulate(p, m)
    # the prefetch misses 20 - 12 s at its reader, the eviction has no slot at all
    assert s.stall_s.tolist() == [0, 0, 8, 10]
    assert s.elapsed_s.tolist() == [1, 12, 5, 2]
    assert s.eviction_s.tolist() == [0, 0, 0, 10]
    assert s.bus_busy_s.tolist() == [0, 12, 8, 10]


def test_supply_is_what_the_instruction_leaves_idle():
    values = [Value("w", 100, is_input=True), Value("big", 80, is_input=True)]
    p = program([10, 1], values, reads=[(0, 1), (1, 0)])
    m = mapping([(0, 0, 0, 2, COPIED)], [(0, 0, 1)])
    assert simulate(p, m).stall_s.tolist() == [0, 8]  # 80 of 100 bytes of slot 0 are its own


def test_reads_before_a_prefetch_is_complete_are_slow():
    p = program([0, 1, 1], [Value("w", 100, is_input=True)], reads=[(0, 0), (1, 0), (2, 0)])
    m = mapping([(0, 0, 0, 3, COPIED)], [(0, 0, 2)])
    assert verify(p, m) == []
    assert simulate(p, m).elapsed_s.tolist() == [10, 10, 1]


def test_a_stay_serves_after_a_shorter_one_inside_it():
    p = program([0] * 6, [Value("w", 100, is_input=True)], reads=[(t, 0) for t in range(6)])
    m = mapping([(0, 0, 1, 5, COPIED), (0, 100, 2, 3, COPIED)], [(0, 1, 1), (0, 2, 2)])
    assert verify(p, m) == []
    assert simulate(p, m).elapsed_s.tolist() == [10, 1, 1, 1, 1, 10]


def test_loop_held_by_hand():
    p = loop_program()
    assert verify(p, HELD) == []
    s = simulate(p, HELD)
    # slot 0: the write of p takes 1 of 10 s; slot 3 still reads acc from slow memory and updates it
    # there: max(1, 1 + 1 + 0.5 + 4, 1 + 4)
    assert s.elapsed_s.tolist() == [10, 0, 6, 6.5, 3, 0, 4, 7]
    assert s.latency_s == 10 + 5 * (6 + 6.5 + 3) + 4 + 7
    assert s.all_slow_latency_s == 10 + 5 * (10 + (10 + 10 + 5 + 4) + 3) + 10 + 7
    assert s.fast_bytes.tolist() == [200, 200, 250, 250, 200, 200, 100, 0]  # p and r share 3


def test_loop_in_body_by_hand():
    p = loop_program()
    assert verify(p, IN_BODY) == []
    s = simulate(p, IN_BODY)
    # p is read from slow memory twice, so slot 2 has no idle supply for its 14 s of prefetches;
    # slot 4 has 3 s for 14 s of evictions, and p's eviction follows slot 0, before a marker
    assert s.stall_s.tolist() == [0, 10, 0, 14, 11, 0, 0, 0]
    assert s.elapsed_s[[2, 3]].tolist() == [10, 10 + 1 + 5 + 0.4]
    assert s.latency_s == pytest.approx(20 + 5 * (10 + (16.4 + 14) + (3 + 11)) + 10 + 7)


def test_a_program_that_takes_no_time_saves_nothing():
    p = program([0, 0], [Value("a", 0)], reads=[(1, 0)], writes=[(0, 0)])
    s = simulate(p, mapping([(0, 0, 0, 2, DEFINED)]))
    assert s.latency_s == s.all_slow_latency_s == s.saved_fraction == 0


def test_elapsed_seconds_are_those_of_the_accesses_in_fast_memory():
    fast = np.array([True, True, False, True, False])  # reads of a, w and a, writes of a and o
    assert elapsed_seconds(STRAIGHT, fast).tolist() == [1, 20, 5, 10]
    assert elapsed_seconds(STRAIGHT, ~fast).tolist() == [10, 20, 30, 2]


def test_simulation_agrees_with_the_return():
    exact = 0
    for p, m, returned, noise in random_games(150):
        s = simulate(p, m)
        # The game gives supply away decision by decision; here the earliest deadline is first.
        assert s.saved_fraction >= returned - noise - 1e-9
        exact += abs(s.saved_fraction - returned) <= noise + 1e-9
        assert s.latency_s >= s.floor_latency_s * (1 - 1e-12)
    assert exact >= 40


def plain_simulation(p: Program, m: Mapping) -> tuple[float, list[float]]:
    """Latency and stalls once more: every slot asks every copy."""
    ready = {}
    for r in m.residencies:
        ends = [t.end for t in m.prefetches if (t.value, t.start) == (r.value, r.start)]
        ready[r] = max(e for e in ends if e < r.end) if r.arrival == COPIED else r.start
    copies = [[t.end, t.start, p.values[t.value].size_bytes, False] for t in m.prefetches]
    copies += [[t.end, t.start, p.values[t.value].size_bytes, True] for t in m.evictions]
    bandwidth = p.machine.slow_bandwidth
    stall, elapsed = [0.0] * len(p.instructions), []
    missing = [size / bandwidth for _, _, size, _ in copies]

    def turn(k: int) -> tuple:
        """Earliest deadline first; of equal ones the shorter window, then evictions."""
        end, start, size, evicts = copies[k]
        return end, -start, -evicts, -size

    for t, ins in enumerate(p.instructions):
        time_of = {"read": ins.fixed_read_s, "write": ins.fixed_write_s}
        own = ins.fixed_slow_bytes
        for a in p.accesses_at[t]:
            fast = any(
                r.value == a.value
                and ready[r] <= t < r.end
                and (not a.defines or (r.start == t and r.arrival == DEFINED))
                for r in m.residencies
            )
            slow_s = a.bytes / bandwidth if a.slow_s is None else a.slow_s
            fast_s = a.bytes / p.machine.fast_bandwidth if a.fast_s is None else a.fast_s
            time_of[a.kind] += fast_s if fast else slow_s
            own += 0 if fast else a.bytes
        elapsed.append(max(ins.compute_s, *time_of.values()))
        left = max(0.0, elapsed[t] - own / bandwidth)
        for k in sorted(range(len(copies)), key=turn):
            if copies[k][1] <= t < copies[k][0]:
                fed = min(left, missing[k])
                left, missing[k] = left - fed, missing[k] - fed
    for k, (end, _, _, evicts) in enumerate(copies):
        stall[end - 1 if evicts else end] += missing[k]
    pairs = zip(p.weights, elapsed, stall, strict=True)
    return sum(w * (e + s) for w, e, s in pairs), stall


def test_simulation_agrees_with_a_plain_loop():
    stalled = 0
    for seed, (p, m, _, _) in enumerate(random_games(150)):
        rng = np.random.default_rng(seed)
        fewer = tuple(  # shorter windows: more stalls
            dataclasses.replace(t, start=int(rng.integers(t.start, t.end + 1))) for t in m.evictions
        )
        m = dataclasses.replace(m, evictions=fewer)
        s = simulate(p, m)
        total, stall = plain_simulation(p, m)
        assert s.latency_s == pytest.approx(total, rel=1e-9, abs=1e-30)
        np.testing.assert_allclose(s.stall_s, stall, rtol=1e-6, atol=1e-9 * max(total, 1e-30))
        stalled += s.stall_s.max() > 0
    assert stalled > 20


def test_latency_formula_in_ticks_and_in_jax():
    jnp = pytest.importorskip("jax.numpy")
    compute, read, write = np.array([3, 1, 0]), np.array([1, 5, 0]), np.array([2, 2, 0])
    for xp in (np, jnp):
        elapsed = latency.elapsed_time(*(xp.asarray(x) for x in (compute, read, write)), xp)
        assert elapsed.tolist() == [3, 5, 0] and "int" in str(elapsed.dtype)
        assert latency.supply_time(elapsed, xp.asarray([1, 9, 0]), xp).tolist() == [2, 0, 0]


def test_default_times_are_bytes_over_bandwidth():
    slow, fast = latency.access_seconds(STRAIGHT)
    assert slow.tolist() == [10, 20, 10, 10, 10]
    assert fast.tolist() == [1, 2, 1, 1, 1]
    assert latency.copy_seconds(STRAIGHT).tolist() == [10, 20, 10]
