"""Every committed program of the built suites loads, validates and says what the compiler said."""

from pathlib import Path

import pytest

import mallocgame
from mallocgame.judge import simulate, verify
from mallocgame.program import load_program
from mallocgame.program.mapping import all_slow, load_mapping
from mallocgame.promise import assumed_slots
from mallocgame.xla.make.build import INDEX, SPLITS, read_index
from mallocgame.xla.make.capacity import contest
from mallocgame.xla.make.kept import MOST_LEFT_OUT
from mallocgame.xla.make.write import PRODUCTION_SUFFIX, PROGRAM_SUFFIX

SUITES = Path(mallocgame.__file__).parent / "suites"
INDICES = {path.parent: read_index(path.parent) for path in sorted(SUITES.glob(f"*/{INDEX}"))}
ROWS = [(folder, name) for folder, index in INDICES.items() for name in index["programs"]]

# What production's simulated cycles may differ by from the compiler's own estimate.
CALIBRATION_ERROR = 0.03


@pytest.mark.parametrize(("folder", "name"), ROWS, ids=[f"{f.name}/{n}" for f, n in ROWS])
def test_program_and_production(folder: Path, name: str) -> None:
    row = INDICES[folder]["programs"][name]
    program = load_program(folder / f"{name}{PROGRAM_SUFFIX}")
    mapping = load_mapping(folder / f"{name}{PRODUCTION_SUFFIX}", program)
    clock = program.machine.clock_hz
    assert clock and program.name == name
    assert program.machine.fast_capacity_bytes == row["capacity_mib"] << 20
    # Times of instructions without an estimate are ours, and in no figure of the compiler's.
    ours = set(assumed_slots(program))
    theirs = [t for t in range(len(program.instructions)) if t not in ours]
    slow = simulate(program, all_slow(program))
    assert slow.elapsed_s[theirs].sum() * clock == pytest.approx(row["cycles_off"], rel=1e-6)
    placed = simulate(program, mapping)
    off_by = placed.elapsed_s[theirs].sum() * clock / row["cycles_on"] - 1
    assert off_by == pytest.approx(row["production_error"], abs=1e-4)
    assert abs(off_by) <= CALIBRATION_ERROR
    assert verify(program, mapping) == [] == row["violations"]
    left_out = sum(buffer["bytes"] for buffer in program.provenance["left_out"])
    assert left_out <= MOST_LEFT_OUT * sum(v.size_bytes for v in program.values)
    found = contest(program, mapping)
    assert found.saved == pytest.approx(row["saved"], abs=1e-4)
    assert found.bound == pytest.approx(row["bound"], abs=1e-4)
    assert program.provenance["versions"]["libtpu"] and program.provenance["source"]


@pytest.mark.parametrize("folder", INDICES, ids=[folder.name for folder in INDICES])
def test_index_is_the_folder(folder: Path) -> None:
    index = INDICES[folder]
    expected = {f"{n}{s}" for n in index["programs"] for s in (PROGRAM_SUFFIX, PRODUCTION_SUFFIX)}
    assert {p.name for p in folder.iterdir()} == expected | {INDEX}
    splits: dict[str, set[str]] = {}
    for row in index["programs"].values():
        assert row["entry"]["split"] in SPLITS
        splits.setdefault(row["entry"]["family"], set()).add(row["entry"]["split"])
    assert all(len(found) == 1 for found in splits.values())


def test_the_largest_suite_has_what_matters() -> None:
    if SUITES / "tpu_v4" not in INDICES:
        pytest.skip("tpu_v4 is not built")
    rows = INDICES[SUITES / "tpu_v4"]["programs"].values()
    assert len(rows) >= 70
    assert any(row["loops"] for row in rows)
    assert {row["entry"]["split"] for row in rows} == set(SPLITS)
    assert min(row["values"] for row in rows) < 200 < 1000 < max(row["values"] for row in rows)


def test_later_chips_are_there() -> None:
    rows = INDICES[SUITES / "tpu_later"]["programs"].values()
    assert {row["entry"]["chip"] for row in rows} >= {"v5e", "v5p", "v6e"}
