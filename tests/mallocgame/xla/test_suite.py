"""The committed suite holds what the compiler dumps say."""

import dataclasses
import os
from pathlib import Path

import pytest

import mallocgame
from mallocgame.judge import simulate, verify
from mallocgame.program import Access, Program, load_program
from mallocgame.program.mapping import all_slow, load_mapping
from mallocgame.xla.make.write import PRODUCTION_SUFFIX, PROGRAM_SUFFIX

SUITE = Path(mallocgame.__file__).parent / "suites" / "tpu_v4_sample"
DUMPS = Path(os.environ.get("MALLOCGAME_DUMPS", "../shared/tpu_dumps"))

# The compiler's estimates in cycles, each loop body once: assignment off, and on by MiB.
CYCLES = {
    "gpt2_decode_v4": (1413840, {64: 1222765, 16: 1302845, 8: 1270285, 4: 1345405}),
    "lstm_scan_v4": (78794, {64: 55742}),
    "resnet50_b1_inference_v4": (918437, {64: 618771, 16: 618771, 8: 665955, 4: 744194}),
    "resnet50_b32_inference_v4": (9335763, {64: 7370089, 32: 8123643, 16: 8854886}),
    "resnet50_b32_train_v4": (30044018, {64: 24059050, 32: 26399403}),
    "transformer_scan_train_v4": (3124150, {64: 2873859, 16: 2947709}),
}
ITEMS = [(name, size, on) for name, (_, found) in CYCLES.items() for size, on in found.items()]

# Production takes all elapsed time for copies; where instructions use the bus, it stalls. So does a
# copy for what reads a value right behind a loop, which production starts in the loop.
STALLS = {"gpt2_decode_v4_16mib": 0.06, "transformer_scan_train_v4_64mib": 0.015}


def program_of(name: str, size: int) -> Program:
    return load_program(SUITE / f"{name}_{size}mib{PROGRAM_SUFFIX}")


def test_nothing_is_missing_or_left_over() -> None:
    expected = {
        f"{name}_{size}mib{suffix}"
        for name, size, _ in ITEMS
        for suffix in (PROGRAM_SUFFIX, PRODUCTION_SUFFIX)
    }
    assert {p.name for p in SUITE.iterdir()} == expected


@pytest.mark.parametrize(("name", "size", "on"), ITEMS)
def test_program_and_production(name: str, size: int, on: int) -> None:
    program = program_of(name, size)
    mapping = load_mapping(SUITE / f"{name}_{size}mib{PRODUCTION_SUFFIX}", program)
    clock = program.machine.clock_hz
    assert clock and program.machine.fast_capacity_bytes == size << 20
    slow = simulate(program, all_slow(program))
    assert slow.elapsed_s.sum() * clock == pytest.approx(CYCLES[name][0], rel=1e-6)
    placed = simulate(program, mapping)
    # What the fit of single instructions is off by on the whole program.
    off_by = 0.0125 if name.startswith("transformer") else 0.0035
    assert placed.elapsed_s.sum() * clock == pytest.approx(on, rel=off_by)
    assert 0 < placed.saved_fraction < 0.4
    limit = STALLS.get(program.name, 0.01)
    assert placed.stall_s.sum() * clock < limit * on
    assert verify(program, mapping) == []
    assert program.provenance["left_out"] == []


@pytest.mark.parametrize("name", CYCLES)
def test_capacities_share_one_program(name: str) -> None:
    programs = [program_of(name, size) for size in CYCLES[name][1]]
    for other in programs[1:]:
        assert other.accesses == programs[0].accesses
        assert other.values == programs[0].values
        assert other.instructions == programs[0].instructions


def test_loops_and_updates_in_place() -> None:
    lstm = program_of("lstm_scan_v4", 64)
    assert [loop.trip_count for loop in lstm.loops] == [64] and len(lstm.carried) == 1
    scan = program_of("transformer_scan_train_v4", 64)
    assert [loop.trip_count for loop in scan.loops] == [8, 8] and len(scan.carried) == 2
    decode = program_of("gpt2_decode_v4", 64)
    updates = [a for a in decode.accesses if a.kind == "write" and not a.defines]
    assert len(updates) == 12  # six layers, two caches
    assert all(decode.values[a.value].is_input for a in updates)
    assert all(decode.values[a.value].is_output for a in updates)


@pytest.mark.skipif(not DUMPS.is_dir(), reason="the compiler dumps are not part of a clone")
@pytest.mark.slow
def test_sample_is_what_the_dumps_say(tmp_path: Path) -> None:
    """All but times, which the sample has from an earlier fit: results are told in its terms."""
    from mallocgame.command.main import main

    dumps = [str(path.parent) for path in sorted(DUMPS.glob("*/msa_off.hlo.gz"))]
    assert main(["import", "--dump", *dumps, "-o", str(tmp_path)]) == 0
    for path in SUITE.glob("*" + PROGRAM_SUFFIX):
        committed, made = load_program(path), load_program(tmp_path / path.name)
        assert made.values == committed.values and made.loops == committed.loops, path.name
        assert [_without_times(a) for a in made.accesses] == [
            _without_times(a) for a in committed.accesses
        ]
        slow = [simulate(p, all_slow(p)).all_slow_latency_s for p in (made, committed)]
        assert slow[0] == pytest.approx(slow[1], rel=1e-6)


def _without_times(access: Access) -> Access:
    return dataclasses.replace(access, slow_s=None, fast_s=None)
