"""Variants are valid programs, made again alone, and what is cut or changed keeps its meaning."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from gamekit import probe
from gamekit.errors import InputError
from mallocgame.domain import DOMAIN
from mallocgame.game.compile_program import compile_program
from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.mappers.registry import MAPPERS
from mallocgame.program import Loop, Program, load_program, save_program, validate
from mallocgame.program.mapping import all_slow
from mallocgame.suites import load_programs
from mallocgame.synthetic.random_programs import random_program
from mallocgame.synthetic.variants import (
    COMPUTE,
    SIZES,
    concatenation,
    floor_saved,
    jitter,
    scaled,
    variant,
    variants,
    with_bandwidth,
    with_capacity,
)
from mallocgame.synthetic.windows import draw_window, window
from tests.support.handmade import MARKER, Slot, value
from tests.support.handmade import program as handmade

COUNT, SEED = 150, 5


@pytest.fixture(scope="module")
def originals() -> list[Program]:
    return load_programs(["tpu_v4:train"])


@pytest.fixture(scope="module")
def made(originals) -> list[Program]:
    return variants(originals, COUNT, SEED)


@pytest.fixture(scope="module")
def odd() -> list[Program]:
    """Random programs, which have what the suite lacks, nested groups among it."""
    return [random_program(np.random.default_rng(seed)) for seed in range(60)]


def slow_s(program: Program, t: int) -> float:
    """Seconds of an instruction with everything in slow memory, by a plain loop."""
    instruction = program.instructions[t]
    read, write = instruction.fixed_read_s, instruction.fixed_write_s
    for a in program.accesses:
        if a.instruction == t:
            seconds = a.bytes / program.machine.slow_bandwidth if a.slow_s is None else a.slow_s
            if a.kind == "read":
                read += seconds
            else:
                write += seconds
    return max(instruction.compute_s, read, write)


def all_slow_s(program: Program) -> float:
    return simulate(program, all_slow(program)).all_slow_latency_s


def a_window(program: Program, seed: int, most: int) -> tuple[int, int, Program]:
    start, end = draw_window(program, np.random.default_rng(seed), most)
    return start, end, window(program, start, end)


def many_windows(programs: list[Program]) -> list[tuple[Program, int, int, Program]]:
    return [
        (program, *a_window(program, seed, most))
        for seed, program in enumerate(programs)
        for most in (7, 40, 512)
    ]


# Windows


def test_a_window_takes_as_long_as_its_instructions(originals, odd):
    for program, start, end, part in many_windows(originals[::2] + odd):
        validate(part)
        expected = 0.0
        for t in range(start, end):
            executions = 1
            for loop in program.loops:
                if start <= loop.entry < t < loop.exit < end:
                    executions *= loop.trip_count
            expected += executions * slow_s(program, t)
        assert all_slow_s(part) == pytest.approx(expected, rel=1e-9, abs=1e-18), program.name


def test_a_whole_window_is_the_program(originals):
    for program in originals:
        whole = window(program, 0, len(program.instructions))
        assert dataclasses.replace(whole, provenance=program.provenance) == program


def test_windows_keep_to_their_length_and_cut_no_loop(originals, odd):
    lengths = set()
    for program, start, end, part in many_windows(originals + odd):
        assert 0 <= start < end <= len(program.instructions) and len(part.instructions) <= 512
        lengths.add(end - start)
        for loop in program.loops:
            ends = [start <= t < end for t in (loop.entry, loop.exit)]
            assert ends[0] == ends[1], (program.name, start, end)
    assert len(lengths) > 20


def test_a_loop_must_not_be_cut():
    slots = [Slot(defines="a"), MARKER, Slot(reads="a"), Slot(reads="a"), MARKER, Slot(reads="a")]
    program = handmade(4, {"a": value(2)}, slots, (Loop(1, 4, 3),))
    for start, end in ((0, 2), (0, 4), (1, 3), (2, 5), (3, 6), (4, 6), (0, 3)):
        with pytest.raises(InputError, match="must not cut loop 0"):
            window(program, start, end)
    for start, end in ((1, 1), (-1, 3), (0, 7)):
        with pytest.raises(InputError, match="must be a part of"):
            window(program, start, end)
    assert window(program, 1, 5).loops == (Loop(0, 3, 3),)
    assert window(program, 2, 4).loops == ()


def flags(program: Program) -> dict[str, str]:
    """Of each value: i for an input, o for an output."""
    return {v.name: "i" * v.is_input + "o" * v.is_output for v in program.values}


def test_what_crosses_the_ends_is_an_input_or_an_output():
    values = {
        "x": value(2, is_input=True),  # read before and in the window
        "early": value(2),  # no access in the window
        "before": value(2),  # comes in, is done with
        "through": value(2),  # comes in, is changed, is read after
        "read": value(2),  # comes in, is only read, is read after
        "inner": value(2),  # begins and ends here
        "late": value(2),  # is read after
        "result": value(2, is_output=True),  # the program's
    }
    slots = [
        Slot(reads="x", defines="early before through read"),
        Slot(reads="early x before", defines="inner", updates="through"),
        Slot(reads="inner read", defines="late result"),
        Slot(reads="through late read early"),
    ]
    part = window(handmade(9, values, slots), 1, 3)
    assert flags(part) == {
        "x": "i", "early": "i", "before": "i", "through": "io", "read": "i", "inner": "",
        "late": "o", "result": "o",
    }  # fmt: skip
    assert set(flags(window(handmade(9, values, slots), 2, 3))) == {
        "inner", "read", "late", "result"
    }  # fmt: skip


def test_the_next_iteration_needs_what_the_body_carries():
    values = {
        "sum": value(2, is_input=True),  # updated in place
        "old": value(3),  # a carried group's parameter
        "new": value(3),  # and its result
        "own": value(1),  # every iteration has it anew
    }
    slots = [
        Slot(defines="old"),
        MARKER,
        Slot(reads="old", defines="own"),
        Slot(reads="own", defines="new", updates="sum own"),
        MARKER,
        Slot(compute=1),
    ]
    program = handmade(9, values, slots, (Loop(1, 4, 3),), ((0, "old", "new"),))
    assert flags(window(program, 2, 4)) == {"sum": "io", "old": "i", "new": "o", "own": ""}
    assert flags(window(program, 3, 4)) == {"sum": "io", "new": "o", "own": "i"}
    around = window(program, 1, 5)
    assert flags(around) == {"sum": "i", "old": "i", "new": "", "own": ""}
    assert len(around.carried) == 1 and around.weights == (1, 3, 3, 1)


def test_needs_of_a_window_by_the_schedule(originals, odd):
    """Without loops: content after the window is needed if some later access is not the first."""
    count = 0
    for program, start, end, part in many_windows([p for p in originals + odd if not p.loops]):
        names = {v.name: v for v in part.values}
        for v, of_program in enumerate(program.values):
            slots = [a.instruction for a in program.accesses if a.value == v]
            writes = [a.instruction for a in program.accesses if a.value == v and a.kind == "write"]
            if not any(start <= t < end for t in slots):
                assert of_program.name not in names
                continue
            needed = of_program.is_output or any(t >= end for t in slots)
            written = any(start <= t < end for t in writes)
            assert names[of_program.name].is_output == (
                of_program.is_output or (needed and written)
            )
            assert names[of_program.name].is_input == (
                of_program.is_input or any(t < start for t in writes)
            )
            count += needed and written and not of_program.is_output
    assert count > 100


# Changes


def test_a_concatenation_takes_as_long_as_both(originals, odd):
    rng = np.random.default_rng(0)
    for programs in (originals, odd):
        for _ in range(30):
            first, second = (programs[int(i)] for i in rng.integers(len(programs), size=2))
            both = concatenation(first, second)
            validate(both)
            # The second is brought to the first's bandwidth, whatever that does to its times.
            factor = first.machine.slow_bandwidth / second.machine.slow_bandwidth
            expected = all_slow_s(first) + all_slow_s(with_bandwidth(second, factor))
            assert all_slow_s(both) == pytest.approx(expected, rel=1e-9)
            slots = len(first.instructions)
            early = {a.value for a in both.accesses if a.instruction < slots}
            late = {a.value for a in both.accesses if a.instruction >= slots}
            assert not early & late
            assert len(both.values) == len(first.values) + len(second.values)
            assert both.weights == (*first.weights, *second.weights)


def test_jitter_changes_sizes_bytes_and_times_together(originals):
    """By ratios: bytes and times of an access change by the factor of its value."""
    ratios = []
    for seed, program in enumerate(originals):
        changed = jitter(program, np.random.default_rng(seed))
        validate(changed)
        for a, b in zip(program.accesses, changed.accesses, strict=True):
            size, new = program.values[a.value].size_bytes, changed.values[b.value].size_bytes
            if min(size, a.bytes) > 10_000:
                ratios.append(new / size)
                assert b.bytes / a.bytes == pytest.approx(ratios[-1], rel=1e-3)
                if a.slow_s is not None and b.slow_s is not None and a.slow_s > 0:
                    assert b.slow_s / a.slow_s == pytest.approx(ratios[-1], rel=1e-3)
        times = [
            new.compute_s / old.compute_s
            for old, new in zip(program.instructions, changed.instructions, strict=True)
            if old.compute_s > 0
        ]
        assert COMPUTE[0] <= min(times) < max(times) <= COMPUTE[1]
    # Rounding to bytes is worth less than the last factor.
    assert SIZES[0] * 0.999 <= min(ratios) < 0.8 < 1.25 < max(ratios) <= SIZES[1] * 1.001
    one = [1.0] * len(program.values), [1.0] * len(program.instructions)
    assert scaled(program, *one) == program


def test_bandwidth_changes_what_slow_memory_adds(originals):
    program = next(p for p in originals if all(a.fast_s == 0 for a in p.accesses))
    assert all(a.slow_s is not None for a in program.accesses)
    bare = dataclasses.replace(
        program,
        instructions=tuple(
            dataclasses.replace(i, compute_s=0.0, fixed_read_s=0.0, fixed_write_s=0.0)
            for i in program.instructions
        ),
    )
    # Memory alone, at twice the bandwidth, takes half the time: fast memory takes none here.
    assert all_slow_s(with_bandwidth(bare, 2.0)) == pytest.approx(all_slow_s(bare) / 2)
    plain = dataclasses.replace(
        bare,
        accesses=tuple(dataclasses.replace(a, slow_s=None, fast_s=None) for a in bare.accesses),
    )
    assert all_slow_s(with_bandwidth(plain, 2.0)) == pytest.approx(all_slow_s(plain) / 2)
    # What it takes in any memory stays.
    assert with_bandwidth(program, 2.0).instructions == program.instructions
    there = with_bandwidth(with_bandwidth(program, 2.0), 0.5)
    assert all_slow_s(there) == pytest.approx(all_slow_s(program))


def test_capacity_is_aligned_and_holds_what_is_reserved(odd):
    for program in odd:
        for factor in (1e-9, 0.3, 1.0, 1.7, 1e12):
            machine = with_capacity(program, factor).machine
            assert machine.fast_capacity_bytes % machine.alignment_bytes == 0
            validate(with_capacity(program, factor))
        assert with_capacity(program, 1.0) == program


def test_the_floor_is_the_judges(originals):
    for program in originals[::5]:
        simulation = simulate(program, all_slow(program))
        expected = 1 - simulation.floor_latency_s / simulation.all_slow_latency_s
        assert floor_saved(program) == pytest.approx(expected)


# Variants


def test_variants_are_valid_and_compile(made, tmp_path):
    for program in made:
        validate(program)
        tables = compile_program(program, GameConfig())
        assert len(tables.questions) > 0
        assert 2 <= len(program.instructions) <= 512
        json.dumps(dict(program.provenance))
    assert len({program.name for program in made}) == COUNT
    assert len({program.fingerprint for program in made}) == COUNT
    save_program(made[0], tmp_path / "a.program.json.gz")
    assert load_program(tmp_path / "a.program.json.gz") == made[0]


def test_all_kinds_occur(originals, made):
    whole = {p.name: len(p.instructions) for p in originals}
    parts = [part for program in made for part in program.provenance["parts"]]
    full = sum(part["window"] == [0, whole[part["program"]]] for part in parts)
    assert 0.2 * len(parts) < full < 0.8 * len(parts)
    assert 15 < sum(len(program.provenance["parts"]) == 2 for program in made) < 75
    assert any(program.loops for program in made) and any(program.carried for program in made)
    assert len({part["program"] for part in parts}) >= 35
    slow = {program.machine.slow_bandwidth for program in made}
    capacities = {program.machine.fast_capacity_bytes for program in made}
    assert len(slow) == COUNT and len(capacities) > COUNT / 2


def test_long_programs_are_cut_and_short_limits_kept(originals):
    long = [program for program in originals if len(program.instructions) > 512]
    assert long
    for longest in (60, 512):
        for program in variants(long, 10, 0, longest=longest):
            assert len(program.instructions) <= longest
            origins = [part["program"] for part in program.provenance["parts"]]
            assert set(origins) <= {p.name for p in long}


def test_any_variant_is_made_again_alone(originals, made):
    again = variants(originals, 8, SEED)
    assert [p.fingerprint for p in again] == [p.fingerprint for p in made[:8]]
    alone = variant(originals, np.random.default_rng([SEED, 107]))
    assert dataclasses.replace(alone, name=made[107].name) == made[107]
    others = variants(originals, 8, SEED + 1)
    assert not {p.fingerprint for p in others} & {p.fingerprint for p in made}
    assert made[7].name.endswith(f"~{SEED}.7")
    assert made[7].name.startswith(made[7].provenance["parts"][0]["program"])
    one, two = (variant(originals, np.random.default_rng(3)) for _ in range(2))
    assert one == two and one.provenance == two.provenance


@pytest.mark.parametrize(
    ("name", "count"),
    # Greedy plays the game, which is compiled for every program.
    [("msa", 20), pytest.param("greedy", 20, marks=pytest.mark.slow)],
)
def test_the_judge_accepts_mappings_of_variants(made, name, count):
    for program in made[:count]:
        mapping = MAPPERS[name](program, GameConfig(), 0.0, 0).mapping
        assert verify(program, mapping) == [], program.name
        assert 0 <= simulate(program, mapping).saved_fraction <= floor_saved(program) + 1e-9


def test_what_cannot_be_made(originals):
    for programs, longest, message in (
        ([], 512, "no programs"),
        (originals, 1, "longest must be at least 2 instructions, got 1"),
    ):
        with pytest.raises(InputError, match=message):
            variants(programs, 1, 0, longest=longest)
    with pytest.raises(InputError, match="at least 0, got -1 and 1"):
        variants(originals, 1, -1)
    idle = handmade(4, {"a": value(2, is_input=True)}, [Slot(compute=9, reads="a")])
    idle = idle.with_machine(dataclasses.replace(idle.machine, slow_bandwidth=10.0))
    with pytest.raises(InputError, match="got none"):
        variants([idle], 1, 0)


def test_the_domain_makes_variants_of_what_it_is_given(originals):
    instances = DOMAIN.instances([f"tpu_v4/{program.name}" for program in originals[:3]])
    found = DOMAIN.variants(instances, 12, 2)
    assert len({instance.name for instance in found}) == 12
    given = {instance.name for instance in instances}
    for instance in found:
        program = instance.content
        assert {part["program"] for part in program.provenance["parts"]} <= given
        assert instance.fingerprint == program.fingerprint
        assert instance.name == program.name and instance.reference is None
    same = variants([instance.content for instance in instances], 12, 2)
    assert [p.fingerprint for p in same] == [instance.fingerprint for instance in found]
    assert math.isfinite(sum(DOMAIN.judge(i, all_slow(i.content)).score for i in found))


def test_a_game_without_variants_says_so():
    with pytest.raises(InputError, match=r"variants: the game '.*' has none"):
        probe.DOMAIN.variants(probe.DOMAIN.instances(["trap"]), 1, 0)
