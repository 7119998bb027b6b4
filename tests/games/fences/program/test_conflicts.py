"""Annotations in conflict: found, and the set that is named is the smallest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gamekit.errors import InputError
from games.fences.program.compile import all_conflicts, compile_text
from games.fences.program.conflicts import conflicts_of
from games.fences.program.flatten import flatten
from games.fences.program.parser import parse

CONFLICTS = [
    ("x = input()\nGPU { x }", "2:7: impossible: 'GPU { x }' (line 2): input() runs on the CPU"),
    ("x = 1 print(x)\nGPU { print(x) }", "2:7: impossible: 'GPU { print(x) }' (line 2): print"),
    ("x = 1\ny = x\ny before x", "3:1: impossible: 'y before x' (line 3): a circle y -> x -> y"),
    ("x = 1\nx before x", "2:1: impossible: 'x before x' (line 2): a circle x -> x"),
    (
        "x = 1 y = 2 z = x\nz before y\ny before x",
        "3:1: impossible: 'z before y' (line 2) and 'y before x' (line 3): a circle",
    ),
    (
        "x = 1\nGPU { x }\ncost x gpu none",
        "3:8: impossible: 'GPU { x }' (line 2) and 'cost x gpu none' (line 3): no device is left",
    ),
    (
        "x = 1\ncost x gpu none cpu none",
        "'cost x gpu none' (line 2) and 'cost x cpu none' (line 2)",
    ),
    (
        "x = 1\nCPU { x }\nGPU { x }",
        "3:7: ambiguous: 'CPU { x }' (line 2) and 'GPU { x }' (line 3): two devices for x",
    ),
    ("x = 1\ncost x cpu 1\ncost x cpu 2", "ambiguous: 'cost x cpu 1' (line 2) and 'cost x cpu 2'"),
    (
        "x = 1 y = 2\nprint(x)\nprint(y)\ndeterministic",
        "4:1: ambiguous: 'deterministic' (line 4): print(x) and print(y) (lines 2 and 3) have no",
    ),
]


@pytest.mark.parametrize(("text", "message"), CONFLICTS, ids=range(len(CONFLICTS)))
def test_conflicts_name_their_annotations_and_lines(text, message):
    with pytest.raises(InputError) as caught:
        compile_text(text, "file")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_order_through_other_values_is_an_order_of_prints():
    text = "x = 1 y = 2 print(x) print(y) deterministic print(x) before y"
    assert compile_text(text, "file").operations[1].after == (2,)


def test_prints_of_two_branches_need_no_order():
    compile_text("b = input() if (b) { print(b) } else { print(b) } deterministic", "file")


def test_all_conflicts_are_listed_the_smallest_first():
    text = "x = input() y = 1\nCPU { y }\nGPU { y x }"
    assert [len(c.annotations) for c in all_conflicts(text, "file")] == [1, 2]


@pytest.mark.parametrize("seed", range(40))
def test_the_set_is_the_smallest_there_is(seed):
    """Against every subset of the annotations: none smaller is in conflict by itself."""
    rng = np.random.default_rng(seed)
    names = [f"v{i}" for i in range(5)]
    lines = ["v0 = input()", *(f"v{i} = v{rng.integers(i)}" for i in range(1, 5)), "print(v4)"]
    items = [*names, "print(v4)"]
    marks = []
    for _ in range(6):
        a, b = (str(x) for x in rng.choice(items, 2, replace=False))
        marks.append(str(rng.choice([f"{a} before {b}", f"GPU {{ {a} }}", f"CPU {{ {a} }}"])))
    marks.append(f"cost {rng.choice(names)} gpu none")
    file = parse("\n".join([*lines, *marks]), "file")
    flat = flatten(file)
    smallest = next(
        (
            size
            for size in range(1, len(file.annotations) + 1)
            for chosen in itertools.combinations(file.annotations, size)
            if _is_impossible(flat, chosen)
        ),
        None,
    )
    found = conflicts_of(flat, file.annotations)
    assert (len(found[0].annotations) if found else None) == smallest
    for conflict in found:
        for left_out in conflict.annotations:
            rest = [a for a in conflict.annotations if a is not left_out]
            assert not _is_impossible(flat, rest), "an annotation that is not needed"
        assert _is_impossible(flat, conflict.annotations)


def _is_impossible(flat, annotations) -> bool:
    """By trying all devices and all orders of six operations."""
    ops = flat.operations
    names = [("print(" if op.prints else "") + op.name + (")" if op.prints else "") for op in ops]
    for i, op in enumerate(ops):
        allowed = {"CPU"} if op.prints or i == 0 else {"CPU", "GPU"}
        for a in annotations:
            text = str(a)
            if text in (f"GPU {{ {names[i]} }}", f"CPU {{ {names[i]} }}"):
                allowed &= {text[:3]}
            if text == f"cost {names[i]} gpu none":
                allowed -= {"GPU"}
        if not allowed:
            return True
    pairs = {(p, c) for c, op in enumerate(ops) for p in op.data}
    for a in annotations:
        first, _, second = str(a).partition(" before ")
        if second:
            pairs.add((names.index(first), names.index(second)))
    return not any(
        all(order.index(p) < order.index(c) for p, c in pairs)
        for order in itertools.permutations(range(len(ops)))
    )
