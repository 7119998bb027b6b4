"""Every rule that a solution can break: which one the judge names, and by how much."""

from __future__ import annotations

import dataclasses

import pytest

from gamekit.errors import InputError
from games.graphs.judge import evaluate
from games.graphs.problem import MATMUL, POINTWISE, Problem, Solution, Subgraph
from games.graphs.problem.reading import CHOICES, Reading
from tests.support.graphs import chain_of_two, diamond, plan, square, two_matmuls

N = (128, 128, 1)


def mixed(kinds: tuple[str, ...], size: int = 256) -> Problem:
    """One after the other on square tensors; MatMuls read a new right input each."""
    inputs, outputs, tensors = [], [], 1
    before = 0
    for kind in kinds:
        if kind == MATMUL:
            inputs.append((before, tensors))
            tensors += 1
        else:
            inputs.append((before,))
        before = tensors
        outputs.append(before)
        tensors += 1
    return Problem(
        "mixed", (size,) * tensors, (size,) * tensors, tuple(inputs), tuple(outputs),
        (100.0,) * len(kinds), kinds, 10**6, 10.0, (128, 128),
    )  # fmt: skip


TWO = chain_of_two(128)
APART = square(128, [(0,), (1,), (2,)], [1.0] * 3, POINTWISE, 10**6)


def gemm(size: int = 128) -> Problem:
    return mixed((POINTWISE, MATMUL, POINTWISE), size)


@pytest.mark.parametrize(
    ("problem", "solution", "message"),
    [
        (TWO, plan(Subgraph((), N)), "subgraph 0: operations: must have at least one, got none"),
        (
            TWO,
            plan(Subgraph((0, 0, 1), N)),
            "subgraph 0: operations: must be different, operation 0 is there twice",
        ),
        (
            APART,
            plan(Subgraph((0,), N), Subgraph((1,), N), Subgraph((0, 2), N)),
            "subgraph 2: connected: operations [2] share no tensor with [0]",
        ),
        (
            TWO,
            plan(Subgraph((1,), N), Subgraph((0,), N)),
            "subgraph 0: available: operation 1 reads tensor 1, which is neither in slow memory "
            "nor retained by the subgraph before",
        ),
        (
            diamond(),
            plan(Subgraph((0, 1), N), Subgraph((2,), N)),
            "subgraph 1: available: operation 2 reads tensor 1, which is neither in slow memory "
            "nor retained by the subgraph before",
        ),
        (
            TWO,
            plan(Subgraph((0, 1), (256, 128, 1))),
            "subgraph 0: tile: width must be at most 128 as native, got 256",
        ),
        (
            TWO,
            plan(Subgraph((0, 1), (128, 0, 1))),
            "subgraph 0: tile: height must be at least 1, got 0",
        ),
        (
            two_matmuls(),
            plan(Subgraph((0, 1), (128, 128, 256))),
            "subgraph 0: tile: depth must be at most 128 as native, got 256",
        ),
        (
            mixed((MATMUL,), 64),
            plan(Subgraph((0,), (64, 64, 100))),
            "subgraph 0: tile: depth must be at most 64 as the reduction of MatMul 0, got 100",
        ),
        (
            gemm(),
            plan(Subgraph((0, 1, 2), (64, 128, 128))),
            "subgraph 0: prologue: operation 0 feeds MatMul 1, so tiles must be 128 wide as its "
            "reduction, got 64, 64 too few",
        ),
        (
            gemm(),
            plan(Subgraph((0, 1, 2), (128, 128, 32))),
            "subgraph 0: prologue: operation 0 feeds MatMul 1, so the depth must be 128 as its "
            "reduction, got 32, 96 too few",
        ),
        (
            two_matmuls(),
            plan(Subgraph((0, 1), (64, 128, 32))),
            "subgraph 0: chain: operation 0 feeds MatMul 1, so tiles must be 128 wide as its "
            "reduction, got 64, 64 too few",
        ),
        (
            TWO,
            plan(Subgraph((0, 1), N, (0,))),
            "subgraph 0: retain: tensor 0 is not made by this subgraph",
        ),
        (
            two_matmuls(),
            plan(Subgraph((0, 1), (128, 128, 32), (3,))),
            "subgraph 0: retain: tensor 3 is not made tile by tile as the outputs",
        ),
        (
            TWO,
            plan(Subgraph((0, 1), (64, 64, 1), (), (0, 1, 2, 2))),
            "subgraph 0: order: must have each of the 4 tiles once, got 4 entries with 3 of them",
        ),
        (TWO, plan(Subgraph((0,), N)), "coverage: operations [1] never run"),
        (
            TWO,
            plan(Subgraph((0, 1), N, (2,))),
            "graph output: tensors [2] are not in slow memory at the end",
        ),
    ],
)
def test_the_rule_is_named(problem: Problem, solution: Solution, message: str):
    assert message in [str(v) for v in evaluate(problem, solution).violations]


def test_outputs_must_have_one_shape():
    problem = Problem(
        "two_shapes", (128, 128, 128, 64, 64), (128,) * 5, ((0, 1), (0, 3)), (2, 4),
        (1.0, 1.0), (MATMUL, MATMUL), 10**6, 1.0, (128, 128),
    )  # fmt: skip
    found = evaluate(problem, plan(Subgraph((0, 1), (64, 64, 64))))
    assert str(found.violations[0]) == (
        "subgraph 0: outputs: must have one shape, got tensor 2 is 128 x 128, tensor 4 is 64 x 128"
    )


def test_one_slice_of_what_is_made_inside():
    # b = f(a); y = b @ (b @ w) needs b by rows along the steps and whole along its columns.
    problem = Problem(
        "two_roles", (128,) * 5, (128,) * 5, ((0,), (1, 2), (1, 3)), (1, 3, 4),
        (1.0,) * 3, (POINTWISE, MATMUL, MATMUL), 10**6, 1.0, (128, 128),
    )  # fmt: skip
    found = evaluate(problem, plan(Subgraph((0, 1, 2), (128, 128, 128))))
    assert found.violations[0].rule == "one slice"
    assert "tensor 1 is made inside and needed cut by" in found.violations[0].message


def test_every_subgraph_is_looked_at():
    found = evaluate(TWO, plan(Subgraph((1,), N), Subgraph((0,), (1, 1, 0)), Subgraph((0, 1), N)))
    assert [v.subgraph for v in found.violations] == [0, 1]
    assert [f is None for f in found.subgraphs] == [True, True, False]


def latency(problem: Problem, solution: Solution, **options: str) -> float | str:
    found = evaluate(problem, solution, Reading(**options))
    return found.latency if found.valid else found.violations[0].rule


def test_options_change_what_they_name():
    """Each option has another verdict or cost for each of its choices, worked out by hand."""
    # Two native tiles of reduction in one MatMul: each of the 4 tiles takes 100, or 2 x 100.
    slow = dataclasses.replace(mixed((MATMUL,)), bandwidth=1e9)
    deep = plan(Subgraph((0,), (128, 128, 128)))
    assert latency(slow, deep) == pytest.approx(400)
    assert latency(slow, deep, base_cost="native") == pytest.approx(800)
    wide = plan(Subgraph((0,), (256, 256, 128)))
    assert latency(slow, wide) == "tile"
    assert latency(slow, wide, above_native="passes") == pytest.approx(400)
    # (x @ a) @ b on four rows of tiles: x @ a is computed once a row, or at each of two columns.
    chain = dataclasses.replace(
        mixed((MATMUL, MATMUL), 128), bandwidth=1e9, heights=(512, 128, 512, 128, 512),
        widths=(128, 128, 128, 256, 256),
    )  # fmt: skip
    rows = plan(Subgraph((0, 1), (128, 128, 64)))
    assert latency(chain, rows) == pytest.approx(4 * 100 + 8 * 100)
    # Its slices by step were not those of the step before.
    assert latency(chain, rows, upstream="repeated") == pytest.approx(8 * 100 + 8 * 100)
    assert latency(chain, plan(Subgraph((0, 1), (64, 128, 64)))) == "chain"
    narrow = plan(Subgraph((0, 1), (64, 128, 64)))
    assert latency(chain, narrow, chain="free") == pytest.approx(4 * 100 + 16 * 100)
    before = dataclasses.replace(mixed((POINTWISE, MATMUL), 128), bandwidth=1e9)
    split = plan(Subgraph((0, 1), (128, 128, 64)))
    assert latency(before, split) == "prologue"
    assert latency(before, split, prologue="aligned") == pytest.approx(200)
    tight = plan(Subgraph((0, 1), (64, 128, 64)))
    assert latency(before, tight, prologue="aligned") == "prologue"
    assert latency(before, tight, prologue="free") == pytest.approx(300)
    small = dataclasses.replace(mixed((MATMUL,), 64), bandwidth=1e9)
    above = plan(Subgraph((0,), (64, 64, 100)))
    assert latency(small, above) == "tile"
    assert latency(small, above, above_reduction="clamp") == pytest.approx(100)


def test_options_of_memory_and_transfers():
    # Tensor 1 is read inside and by the second subgraph.
    twice = plan(Subgraph((0, 1), N), Subgraph((2,), N))
    assert latency(diamond(), twice) == "available"
    each = 128 * 128 / 10
    assert latency(diamond(), twice, read_outside="stored") == pytest.approx(3 * each + 3 * each)
    # A retained output takes two tiles of 64 x 128 or one, beside the tile of its input.
    half = dataclasses.replace(chain_of_two(128), capacity=8192 * 3 - 1)
    kept = plan(Subgraph((0,), (64, 128, 1), (1,)), Subgraph((1,), (64, 128, 1)))
    assert latency(half, kept) == "working set"
    assert evaluate(half, kept, Reading(retained_output="tile")).violations[0].subgraph == 1
    tiny = dataclasses.replace(half, capacity=8192)
    first = evaluate(tiny, kept, Reading(retained_output="free")).violations
    assert all(v.subgraph != 0 for v in first)
    # f(a) and f(b) share nothing, f(a) and f(a) share a.
    apart = square(128, [(0,), (1,)], [0.0] * 2, POINTWISE, 10**6)
    twins = dataclasses.replace(apart, inputs=((0,), (0,)))
    both = plan(Subgraph((0, 1), N))
    assert latency(twins, both) == pytest.approx(3 * each)
    assert latency(twins, both, connected="inside") == "connected"
    two = Problem("two", (128,) * 4, (128,) * 4, ((0,), (1,)), (2, 3), (0.0, 0.0),
                  (POINTWISE,) * 2, 10**6, 10.0, (128, 128))  # fmt: skip
    assert latency(two, both) == "connected"
    assert latency(two, both, connected="free") == pytest.approx(4 * each)
    loads = plan(Subgraph((0,), N, (0,)), Subgraph((1,), N))
    assert latency(twins, loads) == "retain"
    assert latency(twins, loads, retain_inputs="allow") == pytest.approx(2 * each + each)


def test_options_of_steps():
    # y = f(x @ a, z): z and f belong to the last of two steps.
    problem = Problem(
        "epilogue", (128, 128, 128, 128, 128), (128,) * 5, ((0, 1), (2, 3)), (2, 4),
        (1000.0, 600.0), (MATMUL, POINTWISE), 10**6, 16.384, (128, 128),
    )  # fmt: skip
    run = plan(Subgraph((0, 1), (128, 128, 64)))
    tensor = 128 * 128 / 16.384
    # Each step loads two halves; each computes half of 1000.
    assert latency(problem, run) == pytest.approx(tensor + 3 * tensor)
    assert latency(problem, run, epilogue="first") == pytest.approx(2 * tensor + 2 * tensor)
    fast = dataclasses.replace(problem, bandwidth=1e9)
    assert latency(fast, run) == pytest.approx(500 + 1100)
    uneven = dataclasses.replace(problem, bandwidth=16.384 * 2.5)
    # Moving takes 800 and 800 then; 600 are spread as 300 and 300 on the 500 of each step.
    assert latency(uneven, run, epilogue="first") == pytest.approx(800 + 1100)
    assert latency(uneven, run, epilogue="spread") == pytest.approx(800 + 800)
    # Two tiles side by side share the left input, unless nothing is reused across tiles.
    pair = plan(Subgraph((0,), (64, 128, 128)))
    alone = dataclasses.replace(
        problem, inputs=((0, 1),), outputs=(2,), base_costs=(0.0,), kinds=(MATMUL,)
    )
    assert latency(alone, pair) == pytest.approx(3 * tensor)
    assert latency(alone, pair, reuse="within_tile") == pytest.approx(4 * tensor)


@pytest.mark.parametrize("name", CHOICES)
def test_options_are_checked(name):
    with pytest.raises(InputError) as error:
        Reading(**{name: "both"})
    assert str(error.value) == f"{name}: must be one of {', '.join(CHOICES[name])}, got 'both'"
    assert [f.name for f in dataclasses.fields(Reading)] == list(CHOICES)
