"""Only options that the compiler does not estimate as slower than production are handed out."""

from pathlib import Path

import numpy as np
import pytest

from gamekit.errors import InputError
from mallocgame.program.mapping import all_slow
from mallocgame.xla.make.importer import import_dump
from mallocgame.xla.read.chips import chip_by_name
from mallocgame.xla.steer.confirm import PRODUCTION, confirm, plain_options
from mallocgame.xla.steer.export import PREFETCHES
from mallocgame.xla.steer.followed import Placement
from tests.support.xla_sample import write_dump

CHIP = chip_by_name("v4")


@pytest.fixture
def item(tmp_path: Path):
    return import_dump(write_dump(tmp_path / "sample"), CHIP.machine, "sample").items[0]


class Standin:
    """A bench whose compiles take the cycles that it is told, in turn; None is refused."""

    def __init__(self, item, *cycles: int | None):
        self.program, self.left, self.seen = item.program, list(cycles), []

    def placement(self, out):
        none = np.zeros(len(self.program.accesses), bool)
        return Placement(none, np.zeros(len(self.program.instructions), bool))

    def compile(self, options, out):
        self.seen.append(options)
        cycles = self.left.pop(0)
        if cycles is None:
            raise InputError("lowered.mlir: compile failed: RuntimeError: MSA gives up")
        return cycles


def ask(item, bench, **more):
    return confirm(item.program, item.mapping, "module {}", CHIP, bench=bench, **more)


def test_production_counts_loops_as_often_as_they_run(item) -> None:
    made = item.program.provenance["production"]
    assert made["executed_cycles"] == 800 + 900 + 1200 + 4 * (2500 + 450 + 600)


def test_what_is_followed_is_handed_out(item) -> None:
    bench = Standin(item, 16_000)
    found = ask(item, bench, promised=0.06)
    assert found.gain == pytest.approx(17_100 / 16_000 - 1) and found.options == bench.seen[0]
    assert "confirms +6.88%" in str(found) and len(found.attempts) == 1


def test_the_next_best_is_tried(item) -> None:
    bench = Standin(item, None, 17_000, 18_000, 18_000)
    found = ask(item, bench, promised=0.06)
    assert found.cycles == 17_000 and found.what == "its order alone"
    assert found.options == bench.seen[1] and PREFETCHES not in found.options
    assert found.attempts[0].cycles is None and "by its order alone" in str(found)


def test_slower_options_are_never_handed_out(item) -> None:
    found = ask(item, Standin(item, 18_000, 17_100, 17_101, 20_000), promised=0.06)
    assert found.what == PRODUCTION and found.gain == 0
    assert found.options == plain_options(item.program, CHIP) and "not confirmed" in str(found)


def test_other_failures_end_it(item) -> None:
    class Hanging(Standin):
        def compile(self, options, out):
            raise InputError("lowered.mlir: compile took longer than 5 s")

    with pytest.raises(InputError, match="took longer"):
        ask(item, Hanging(item))
    item.program.provenance["production"].pop("executed_cycles")
    with pytest.raises(InputError, match="executed_cycles: must be there"):
        confirm(item.program, all_slow(item.program), "", CHIP, bench=Standin(item))
