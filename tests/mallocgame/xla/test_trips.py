"""How often a loop runs, against Python's own ranges."""

from __future__ import annotations

import pytest

from mallocgame.xla.read.graph import build_graph
from mallocgame.xla.read.hlo import parse_module
from mallocgame.xla.read.trips import ASSUMED_TRIPS
from mallocgame.xla.read.wellformed import check_module
from tests.support.xla_sample import OFF, N

WHILE = "condition=%cond, body=%body"
COUNT = f"%count = {N} copy(%zero)"


def trips_of(*changes: tuple[str, str]) -> int | None:
    """The count of the sample's loop with other text, None if it had to be assumed."""
    text = OFF
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    module = parse_module(text, "sample")
    check_module(module, "sample")
    graph = build_graph(module, "sample")
    (loop,) = graph.loops
    if graph.assumed:
        assert graph.assumed["loop"] == loop.trip_count == ASSUMED_TRIPS
        return None
    return loop.trip_count


def counting(start: int, bound: int, step: int) -> list[tuple[str, str]]:
    """The changes after which the loop counts like `range(start, bound, step)`."""
    return [
        (f"{name} = {N} constant({was})", f"{name} = {N} constant({number})")
        for name, was, number in (("%zero", 0, start), ("%limit", 4, bound), ("%one", 1, step))
    ]


@pytest.mark.parametrize(
    ("start", "bound", "step"),
    [(0, 4, 1), (0, 10, 3), (2, 11, 3), (2, 12, 3), (-3, 4, 2), (-9, -4, 1), (0, 1, 7)],
)
def test_a_loop_with_a_counter(start: int, bound: int, step: int) -> None:
    assert trips_of(*counting(start, bound, step)) == len(range(start, bound, step))


@pytest.mark.parametrize(("start", "bound", "step"), [(4, 4, 1), (5, 4, 1), (0, 4, 0), (0, 4, -1)])
def test_a_loop_that_does_not_run_or_does_not_end_is_assumed(
    start: int, bound: int, step: int
) -> None:
    assert trips_of(*counting(start, bound, step)) is None


def test_what_the_compiler_states_comes_first() -> None:
    stated = f'{WHILE}, backend_config={{"known_trip_count":{{"n":"37"}}}}'
    assert trips_of((WHILE, stated)) == 37
    assert trips_of((WHILE, stated), ("direction=LT", "direction=NE")) == 37


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("direction=LT", "direction=LE"),
        ("compare(%i.c, %limit)", "compare(%limit, %i.c)"),
        ("%i = s32[]{:T(128)} get-tuple-element(%arg), index=0",
         "%i = s32[]{:T(128)} get-tuple-element(%arg), index=1"),
        ("%i.c = s32[]{:T(128)} get-tuple-element(%arg.c), index=0",
         "%i.c = s32[]{:T(128)} get-tuple-element(%arg.c), index=1"),
        ("add(%i, %one)", "subtract(%i, %one)"),
        (COUNT, f"%count = {N} negate(%zero)"),
    ],
)  # fmt: skip
def test_a_loop_that_counts_otherwise_is_assumed(old: str, new: str) -> None:
    assert trips_of((old, new)) is None


def test_constants_and_counters_are_seen_through_copies() -> None:
    for name, user in (("%limit", "compare(%i.c, {})"), ("%one", "add(%i, {})")):
        line = f"{name} = {N} constant({4 if name == '%limit' else 1})"
        copied = f"{line}\n  {name}.1 = {N} copy({name})\n  {name}.2 = {N} bitcast({name}.1)"
        assert trips_of((line, copied), (user.format(name), user.format(name + ".2"))) == 4
    counter = f"%i.1 = {N} copy(%i)\n  %inc = {N} add(%i.1, %one)"
    assert trips_of((f"%inc = {N} add(%i, %one)", counter)) == 4
