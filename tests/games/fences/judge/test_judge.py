"""The judge: its rules against every interleaving, its figures against figures by hand."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from gamekit.errors import InputError
from games.fences.judge import judge_text
from games.fences.judge.interpreter import Machine, _inputs, interleavings, races
from games.fences.judge.rules import violations
from games.fences.program.parser import parse_blocks
from games.fences.program.program import Program
from games.fences.program.schedule import Schedule, read_schedule
from tests.support.fences import BRANCHES, OVERLAP, damaged, generated, program, schedules

GOOD = """schedule
CPU { x y --- f z c }
GPU { sync(f) a --- g b }
CPU { sync(g) print(a) d }
"""
# A change of GOOD, and what the judge says.
BROKEN = [
    (
        "a --- g b",
        "--- g a b",
        "schedule:4:15: print(a) reads a, of the other device without a",
    ),
    ("x y --- f", "x --- f y", "schedule:3:15: a reads y, of the other device without a fence"),
    ("sync(f) a", "a sync(f)", "schedule:3:7: a reads x, of the other device without a fence"),
    ("print(a) d", "d print(a)", "schedule:4:15: d must come after print(a), which comes later"),
    ("z c }", "c z }", "schedule:2:17: c reads z, which comes later"),
    (" d }", " }", "d (program:7) is missing from the schedule"),
    ("z c }", "z c c }", "schedule:2:21: c runs twice, first on line 2"),
    ("z c }", "z }\nGPU { c }", "schedule:3:7: c may not run on the GPU"),
    ("sync(g) ", "sync(h) ", "schedule:4:7: there is no fence 'h' before this sync"),
    ("x y --- f z", "sync(g) x y --- f z", "schedule:2:7: there is no fence 'g' before this sync"),
    ("--- f z c", "--- f z c sync(f)", "schedule:2:21: 'f' is a fence of the CPU itself"),
    ("--- g b", "--- f b", "schedule:3:17: the fence 'f' is there twice"),
    ("sync(f) a", "sync(f) sync(f) a", "schedule:3:15: the fence 'f' is not after one that is"),
    ("x y", "x q y", "schedule:2:9: there is no value q"),
    ("z c", "print(c) z c", "schedule:2:17: there is no print(c)"),
    ("z c", "z if (b) { c }", "schedule:2:19: 'b' is no condition of the program"),
]


@pytest.mark.parametrize(("old", "new", "message"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_rule_is_named_with_its_place(old, new, message):
    assert old in GOOD
    judged = judge_text(program(OVERLAP), GOOD.replace(old, new))
    assert judged.figures is None
    assert judged.violations[0].startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CPU { b x y --- f } GPU { sync(f) z z }", "z must stand in then of if (b)"),
        ("CPU { b x if (b) { y } --- f }", "y must stand outside of every if"),
        ("CPU { b x y } GPU { if (b) { --- f } }", "a fence must stand outside of every if"),
        ("CPU { b x y --- f } GPU { if (b) { sync(f) } }", "a sync must stand outside"),
        ("CPU { b } GPU { if (b) { if (b) { z } } }", "'b' is decided by an if around this one"),
    ],
)
def test_branches_are_those_of_the_program(text, message):
    assert message in judge_text(program(BRANCHES), f"schedule {text}").violations[0]


def test_figures_by_hand():
    """overlap: x, y until 2; with the latency a begins at 3; a is back at 5, then print and d."""
    figures = judge_text(program(OVERLAP), GOOD).figures
    assert figures is not None
    assert (figures.instructions, figures.fences, figures.syncs) == (8, 2, 2)
    assert (figures.bytes, figures.makespan) == (12.0, 7.0)
    assert figures.cost == pytest.approx(8 + 40 + 1.2 + 7)


def test_figures_of_branches_by_hand():
    """One branch runs, whichever: three inputs and z; b, x and y go over."""
    made = program(BRANCHES + "cost b bytes 2 weights latency 0")
    text = "schedule CPU { b x y --- f } GPU { sync(f) if (b) { z } else { z } }"
    figures = judge_text(made, text).figures
    assert figures is not None
    assert (figures.instructions, figures.bytes, figures.makespan) == (6, 10.0, 4.0)
    apart = "schedule CPU { b x y --- f } GPU { sync(f) if (b) { z } if (b) { } else { z } }"
    again = judge_text(made, apart).figures
    assert again is not None and again.instructions == 6


def _by_enumeration(of: Program, schedule: Schedule, most: int = 3000) -> bool | None:
    """Whether one interleaving goes wrong, by taking them one by one; None if they are too many."""
    for outcome in of.outcomes:
        machine = Machine(of, schedule, outcome, _inputs(of, 1))
        for count, order in enumerate(interleavings(machine)):
            if count >= most:
                return None
            at = (0, 0)
            for device in order:
                if machine.step(device, at) is not None:
                    return True
                at = (at[0] + 1, at[1]) if device == 0 else (at[0], at[1] + 1)
            if at != machine.end():
                return True
    return False


def _by_chance(of: Program, schedule: Schedule, rng: random.Random, runs: int = 30) -> bool:
    """Whether one of some random interleavings goes wrong."""
    for _ in range(runs):
        machine = Machine(of, schedule, rng.choice(of.outcomes), _inputs(of, 1))
        at = (0, 0)
        while at != machine.end():
            may = [device for device in (0, 1) if machine.may_step(device, at)]
            if not may:
                return True
            device = rng.choice(may)
            if machine.step(device, at) is not None:
                return True
            at = (at[0] + 1, at[1]) if device == 0 else (at[0], at[1] + 1)
    return False


@pytest.mark.parametrize("programs", [25, pytest.param(300, marks=pytest.mark.slow)])
def test_planted_races_are_found(programs):
    """Schedules with a sync less or two lines swapped: rules, the interpreter over positions and
    the interleavings one by one say the same; what chance finds, they find."""
    rng, seen = random.Random(0), Counter[str]()
    for seed in range(programs):
        made = generated(6 + seed % 5, seed)
        for text in schedules(made):
            for changed in (text, *damaged(text)):
                try:
                    schedule = read_schedule(made, parse_blocks(changed, "schedule"))
                except InputError:
                    seen["no schedule"] += 1
                    continue
                broken = violations(made, schedule)
                if any("fence" in v and "without a fence" not in v for v in broken):
                    seen["of a wrong form"] += 1
                    continue
                wrong = bool(races(made, schedule))
                assert wrong == bool(broken), (changed, broken)
                slowly = _by_enumeration(made, schedule)
                assert slowly in (None, wrong), changed
                if _by_chance(made, schedule, rng):
                    assert wrong, changed
                    seen["found by chance too"] += 1
                seen["race" if wrong else "right"] += 1
                seen["enumerated"] += slowly is not None
    assert seen["race"] > 5 * programs and seen["right"] > 5 * programs, seen
    assert seen["found by chance too"] > 2 * programs
    assert seen["enumerated"] > 5 * programs, seen
    print(dict(seen))


def test_values_are_checked_under_both_outcomes():
    """A value that one branch alone lacks is missed in that branch."""
    made = program("b = input() x = input() if (b) { z = x } else { z = x + 1 } y = z + 1")
    text = "schedule CPU { b x --- f if (b) { z } } GPU { sync(f) if (b) { } else { z } y }"
    found = judge_text(made, text)
    assert found.violations[0].endswith(
        "y reads z, of the other device without a fence after that and a sync before this"
    )
    schedule = read_schedule(made, parse_blocks(text, "schedule"))
    assert {race.what for race in races(made, schedule)} == {"y reads 'z' before it is there"}
    assert len(races(made, schedule)) == 2  # of two outcomes with two sets of inputs each
