"""The language: what is read, what is written, and where errors are."""

from __future__ import annotations

import random

import pytest

from gamekit.errors import InputError
from games.fences.judge import judge_text
from games.fences.program.compile import compile_text
from games.fences.program.parser import parse
from games.fences.suites.generate import generate
from tests.support.fences import BRANCHES, OVERLAP, generated, program, schedules

# What is wrong, and where: line:column.
ERRORS = [
    ("x = input()\ny = x +\n", "3:1: must be a value, got the end of the file"),
    ("x = 1 ?", "1:7: no word begins with '?'"),
    ("b = true if (b) { weights time 1 }", "1:19: the annotation 'weights' must stand outside"),
    ("x = 1.5", "1:5: must be a whole number, got 1.5"),
    ("if (true) { x = 1 ", "1:19: must be '}', got the end of the file"),
    ("sync = 1", "1:1: must be a statement or an annotation, got the reserved word 'sync'"),
    ("x 1", "1:3: must be '=' after 'x', got '1'"),
    ("x = 1 CPU { x", "1:14: must be '}', got the end of the file"),
    ("x = 1 GPU { x --- f }", "1:15: '---' must stand in a schedule"),
    ("x = 1 cost x cpu fast", "1:18: must be a number or none, got 'fast'"),
    ("x = 1 cost x speed 1", "1:14: must be one of cpu, gpu, bytes, got 'speed'"),
    ("x = 1 cost x bytes none", "1:14: bytes must be a number, got none"),
    ("x = 1 cost x cpu 1 cpu 2", "1:20: 'cpu' is there twice"),
    ("x = 1 cost x cpu 99999999", "1:18: must be at most 1e+06"),
    ("x = 1 weights time none", "1:15: the weight 'time' must be a number, got none"),
    ("x = 1 weights time 1 weights time 2", "1:30: the weight 'time' is there twice"),
    ("x = 1 schedule CPU { if (x) { sync } }", "1:36: must be '('"),
    ("x = 1 schedule y", "1:16: must be a block, CPU { ... } or GPU { ... },, got 'y'"),
    ("x = " + "(" * 80, "must be nested at most 64 deep"),
    ("x = " + "1 + " * 80 + "1", "a value must have at most 64 operators"),
    ("x" * 65 + " = 1", "1:1: a name must have at most 64 characters, got 65"),
    ("x = 1234567890123456789", "1:5: a number must have at most 18 digits, got 19"),
    ("", "has no operation"),
    ("x = 1\nx = 2", "2:1: x is assigned twice in one run, first on line 1"),
    ("x = 1 print(x)\nprint(x)", "2:1: print(x) is there twice in one run, first on line 1"),
    ("x = 1\ny = q", "2:5: there is no value 'q'"),
    ("b = input() if (b) { x = 1 }\ny = x", "2:5: 'x' is not defined where b is false"),
    ("x = y\ny = x", "1:1: x depends on itself: x -> y -> x"),
    ("b = true x = 1\nif (x) { y = b + 1 }", "2:16: an operand of '+' must be a number"),
    ("x = 1\nif (x) { y = 1 }", "2:1: the condition 'x' must be a boolean, got a number"),
    ("x = input() y = x + 1\nz = x && true", "2:7: an operand of '&&' must be a boolean"),
    ("x = 1 == true", "1:7: '==' must have two operands of one type"),
    ("b = input() if (b) { x = 1 } else { x = true }", "'x' is a number elsewhere, here a bool"),
    ("b = input() if (b) { if (b) { x = 1 } }", "'b' is decided already by an if around"),
    ("x = 1\nGPU { y }", "2:7: there is no value y"),
    ("x = 1\nx before print(x)", "2:10: there is no print(x)"),
    ("b = input() if (b) { x = 1 } else { y = 1 }\nx before y", "the two never are in one run"),
    ("x = 1\n" * 1 + "".join(f"y{i} = {i}\n" for i in range(64)), "at most 64 operations"),
    (
        "".join(f"b{i} = input() if (b{i}) {{ x{i} = 1 }}\n" for i in range(4)),
        "4:14: must have at most 3 conditions",
    ),
]


@pytest.mark.parametrize(("text", "message"), ERRORS, ids=range(len(ERRORS)))
def test_errors_say_where(text, message):
    with pytest.raises(InputError) as caught:
        compile_text(text, "file")
    assert message in str(caught.value) and str(caught.value).startswith("file:")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [BRANCHES, OVERLAP, *(generate(12, seed) for seed in range(20))])
def test_the_normal_form_says_the_same(text):
    first = program(text)
    again = program(first.text)
    assert again == first and again.text == first.text


def test_expressions_keep_their_meaning():
    text = "x = 1 - (2 - 3) - 4 * (5 + 6) / 7\ny = !(true && false) || 1 == - - 2\nz = -(1 + 2)\n"
    assert program(text).text.splitlines() == [
        "x = 1 - (2 - 3) - 4 * (5 + 6) / 7",
        "y = !(true && false) || 1 == - -2",
        "z = -(1 + 2)",
    ]


def test_a_computed_condition_is_an_operation_with_a_name():
    made = program("x = input() cond1 = 2 if (x == cond1) { y = 1 } else { y = 2 } print(y)")
    assert made.conditions == ("cond2",)
    assert [str(op.item) for op in made.operations] == ["x", "cond1", "cond2", "y", "y", "print(y)"]
    assert made.operations[5].data == (3, 4) and made.operations[3].data == (2,)
    assert made.share == (1, 1, 1, 0.5, 0.5, 1)


def test_input_inside_of_a_value_keeps_it_on_the_cpu():
    made = program("x = 2 * input() y = x")
    assert [op.times for op in made.operations] == [(1.0, None), (1.0, 1.0)]


def test_annotations_reach_operations():
    made = program(OVERLAP + "cost a gpu 3 bytes 7\ncost c cpu 0.5\nweights fence 2 latency 4")
    ops = {str(op.item): op for op in made.operations}
    assert ops["a"].times == (None, 3.0) and ops["a"].bytes == 7
    assert ops["c"].times == (0.5, None) and ops["d"].after == (7,)
    assert (made.weights.fence, made.weights.latency, made.weights.sync) == (2, 4, 10)


@pytest.mark.parametrize("count", [1500, pytest.param(40_000, marks=pytest.mark.slow)])
def test_damaged_texts_end_in_one_line(count):
    """Programs and schedules with parts cut, doubled, swapped and strange characters put in."""
    rng = random.Random(count)
    texts = [BRANCHES, OVERLAP]
    for seed in range(6):
        made = generated(10, seed)
        texts += [made.text + text for text in schedules(made)]
    refused = 0
    for _ in range(count):
        text = rng.choice(texts)
        for _ in range(rng.randrange(1, 4)):
            text = _damage(rng, text)
        try:
            file = parse(text, "file")
            made = compile_text(text, "file")
            if file.blocks is not None and "schedule" in text:
                judged = judge_text(made, text[text.index("schedule") :])
                assert all("\n" not in line and line for line in judged.violations)
        except InputError as error:
            refused += 1
            assert str(error).startswith("file:") and "\n" not in str(error), error
            assert len(str(error)) < 1000
    assert refused > count / 4


def _damage(rng: random.Random, text: str) -> str:
    a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    b = min(b, a + 12)
    kind = rng.randrange(5)
    if kind == 0:
        return text[:a] + text[b:]
    if kind == 1:
        return text[:b] + text[a:b] + text[b:]
    if kind == 2:
        return (
            text[:a]
            + rng.choice(["\0", "é", "{", "}", "---", "))", "sync(", "\x1b[0m", "9"])
            + text[a:]
        )
    words = text.split(" ")
    i, j = rng.randrange(len(words)), rng.randrange(len(words))
    if kind == 3:
        words[i], words[j] = words[j], words[i]
    else:
        words[i] = words[j]
    return " ".join(words)
