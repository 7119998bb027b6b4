"""Computations and nests as data: texts, validity, what follows from both."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from gamekit.errors import InputError
from gamekit.text import MAX_LINE
from games.loops.program.computation import parse, random_inputs, reference
from games.loops.program.nest import Loop, Nest, check, from_record, start, to_record
from games.loops.suites import MATMULS, find, knows, matmuls, named
from tests.support.loops import KINDS, MM, nests, played

MM_TEXT = "C[m,n] += A[m,k] * B[k,n]; m=6 n=16 k=5"


def test_a_text_is_read_as_it_was_written():
    for name in KINDS:
        made = named(name)
        assert parse(made.text, name) == made
    conv = parse("O[f,x] += I[c, 2*x + r] * W[f,c,r]; f=2 x=8 c=3 r=3", "conv")
    assert conv.shape(conv.inputs[0]) == (3, 17)
    assert conv.strides(conv.inputs[0]) == {"c": 17, "x": 2, "r": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("C[m,n] = A[m,k] * B[k,n]; m=6", "must be of the form"),
        (MM_TEXT.replace("; m=6", ""), "must be of the form"),
        (MM_TEXT.replace("m=6", ""), "m: has no size"),
        (MM_TEXT + " z=3", "z: has a size, but no tensor"),
        (MM_TEXT + " m=7", "m: has two sizes"),
        (MM_TEXT.replace("m=6", "m=0"), "m: must be in 1..4096, got 0"),
        (MM_TEXT.replace("n=16", "n=12"), "n: the last index of C must be 1 or a multiple of 8"),
        (MM_TEXT.replace("n=16", "n=x"), "a size must be such as m=64, got 'n=x'"),
        (MM_TEXT.replace("A[m,k]", "A[m,k-1]"), "A: must have indices such as"),
        (MM_TEXT.replace("A[m,k]", "A[m,99*k]"), "A: a factor must be in 1..16, got 99"),
        (MM_TEXT.replace("A[m,k]", "A[m,k+k]"), "A: k is twice"),
        (MM_TEXT.replace("A[m,k]", "C[m,k]"), "tensors must have three different names"),
        (MM_TEXT.replace("C[m,n]", "C[m+n]"), "C: must have one index of its own"),
        (MM_TEXT.replace("k", "A"), "'A' is the name of a tensor and of an index"),
        ("x" * 2000, "must have at most 1000 characters"),
        ("O[a,n] += A[a,b,c,d] * B[n,e,f,g]; a=2 n=8 b=2 c=2 d=2 e=2 f=2 g=2", "at most 7 indices"),
        (
            MM_TEXT.replace("m=6", "m=4096").replace("k=5", "k=4096").replace("n=16", "n=4096"),
            "mult",
        ),
    ],
)
def test_one_line_for_a_text_that_cannot_be_used(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        parse(text, "computation")


def test_numpy_computes_what_the_text_says():
    conv = named("conv2ds2_4_8_3_3_3")
    image, weights = random_inputs(conv)
    right = np.zeros((2, 4, 8))
    for f, y, x, c, r, q in np.ndindex(2, 4, 8, 3, 3, 3):
        right[f, y, x] += float(image[c, 2 * y + r, 2 * x + q]) * weights[f, c, r, q]
    np.testing.assert_allclose(reference(conv, image, weights), right, atol=1e-5)


def test_the_start_and_its_tree():
    nest = start(MM)
    assert [x.variable for x in nest.compute] == ["m", "k", "n"]
    assert [x.variable for x in nest.write] == ["m", "n"]
    lines = nest.lines(MM)
    assert [(x.loop.variable, x.size, x.shared) for x in lines] == [
        ("m", 6, True),
        ("k", 5, False),
        ("n", 16, False),
        ("n", 16, False),
    ]


def test_tails_cover_what_full_iterations_leave():
    nest = played(MM, "split_4").nest
    (outer, inner, *_) = nest.lines(MM)
    assert (outer.size, outer.tail, inner.size, inner.tail) == (1, 2, 4, 0)
    for computation, nest in nests(40):
        for row in (0, 1):
            for extent, loop in zip(nest.extents(computation, row), nest.rows[row], strict=True):
                size, tail = divmod(extent, loop.step)
                assert size >= 1 and size * loop.step + tail == extent


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compute": []}, "compute: must have 1 to 10 loops, got 0"),
        ({"compute": [["m", 1, False], ["k", 1, False]]}, "compute: has no loop over n"),
        (
            {"compute": [["m", 2, False], ["k", 1, False], ["n", 1, False]]},
            "over m must have step 1",
        ),
        ({"compute": [["m", 7, False]]}, "compute[0]: step must be in 1..6"),
        ({"compute": [["m", 0, False]]}, "compute[0]: step must be in 1..6"),
        ({"compute": [["q", 1, False]]}, "compute[0]: index must be one of k, m, n, got 'q'"),
        ({"compute": [["m", True, False]]}, "compute[0]: must be [index, step, unroll]"),
        ({"compute": "mkn"}, "compute: must be a list of loops, got str"),
        ({"write": [["m", 1, False], ["k", 1, False]]}, "write[1]: index must be one of m, n"),
        ({"write": [["m", 1, True], ["n", 1, False]]}, "only loops of compute can be unrolled"),
        ({"vector": 1}, "vector: must be true or false"),
        ({"more": 1}, "must have the fields compute, write and vector"),
        (
            {"compute": [["n", 1, False], ["k", 1, False], ["m", 1, False]]},
            "the innermost loop must have size 1 or a multiple of 8",
        ),
        (
            {"compute": [["m", 1, True], ["k", 1, False], ["n", 1, True]]},
            "unrolled loops must have at most 16 iterations and together 64 copies",
        ),
    ],
)
def test_one_line_for_a_nest_that_breaks_a_rule(change, message):
    record = to_record(start(MM)) | change
    with pytest.raises(InputError, match=re.escape(message)):
        from_record(record, MM)


def test_at_most_ten_loops():
    many = Nest(tuple(Loop("m", 1) for _ in range(9)) + start(MM).compute[1:], start(MM).write)
    with pytest.raises(InputError, match="at most 10 loops, got 12"):
        check(MM, many)


def test_records_are_read_as_they_were_written():
    for computation, nest in nests(40):
        assert from_record(to_record(nest), computation) == nest


def test_damaged_records_and_texts_end_in_one_line():
    rng = random.Random(0)
    nasty = [None, True, -1, 10**30, 1.5, "", "m", [], {}, [["m", 1, False]], float("nan")]
    refused = 0
    for _ in range(2000):
        record = to_record(start(MM))
        where = rng.choice(["compute", "write", "vector"])
        if where == "vector" or rng.random() < 0.3:
            record[where] = rng.choice(nasty)
        else:
            loop = rng.choice(record[where])
            loop[rng.randrange(3)] = rng.choice(nasty)
        text = list(MM_TEXT)
        for _ in range(rng.randint(1, 4)):
            text[rng.randrange(len(text))] = rng.choice("[]+*;=,0m9 \0\n\ud800")
        for read in (
            lambda record=record: from_record(record, MM),
            lambda text=text: parse("".join(text), "x"),
        ):
            try:
                read()
            except InputError as error:
                refused += 1
                assert str(error).isprintable() and len(str(error)) <= MAX_LINE
    assert refused > 2000


def test_suites():
    test, train = matmuls("test"), matmuls("train")
    assert len(test) + len(train) == 2197 and not {*test} & {*train} and len(test) == 439
    found = find([f"{MATMULS}/test/0-24", "mixed", "mm64_80_96"])
    assert [c.name for _, c in found][:2] == list(test[:2])
    assert len(found) == 35 and all(knows(name) for name in (f"{MATMULS}/train", "mixed"))
    assert dict(named("mm64_80_96").sizes) == {"m": 64, "n": 80, "k": 96}
    assert not knows("mm64_80") and not knows("nowhere")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "computation must be one of mm, "),
        ("mm0_8_8", "m: must be in 1..4096, got 0"),
        (f"{MATMULS}/test/5-3", "from a smaller to a larger one"),
        (f"{MATMULS}/test/9999", "below 439"),
        ("mixed/3", "computation must be one of"),
    ],
)
def test_names_that_lead_nowhere(name, message):
    with pytest.raises(InputError, match=re.escape(message)):
        find([name])


def test_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="holds no computation"):
        find([str(tmp_path)])
    (tmp_path / "mine.txt").write_text("C[m,n] +=\n A[m,k] * B[k,n];\nm=6 n=16 k=5\n")
    ((source, made),) = find([str(tmp_path)])
    assert made.name == "mine" and made.sizes == MM.sizes and source.endswith("mine.txt")
    with pytest.raises(InputError, match="is there twice"):
        find([str(tmp_path), str(tmp_path / "mine.txt")])
