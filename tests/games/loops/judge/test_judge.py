"""The judge: kernels compute what numpy computes, wrong ones are found, and times are kept."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from gamekit.errors import InputError
from games.loops.judge import compiler
from games.loops.judge.clock import Clock, WrongResult, arrays_of, difference
from games.loops.judge.code import code, plain_code
from games.loops.judge.compiler import Kernel
from games.loops.mappers.libraries import by_numpy, compared
from games.loops.program.nest import Loop, Nest, start
from games.loops.suites import named
from tests.support.loops import KINDS, MM, nests, played

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@needs_gcc
def test_kernels_of_nests_by_chance_compute_what_numpy_does():
    for computation, nest in nests(32):
        arrays = arrays_of(computation)
        kernel = Kernel(code(computation, nest))
        kernel.run(*arrays)
        assert difference(computation, arrays) < 1e-5, (computation.name, nest)
        kernel.close()


@needs_gcc
@pytest.mark.parametrize("name", KINDS)
def test_the_libraries_compute_the_same(name):
    computation = named(name)
    arrays = arrays_of(computation)
    by_numpy(computation)(*arrays[:3])
    difference(computation, arrays)
    arrays[2].fill(np.nan)
    Kernel(plain_code(computation, start(computation)), as_told=False).run(*arrays)
    difference(computation, arrays)


@needs_gcc
def test_a_kernel_that_computes_something_else_is_found():
    arrays = arrays_of(MM)
    right = code(MM, start(MM))
    for wrong in (right.replace("i1 < 5", "i1 < 4"), right.replace("j1 < 16", "j1 < 15")):
        assert wrong != right
        arrays[2].fill(np.nan)
        Kernel(wrong).run(*arrays)
        with pytest.raises(WrongResult, match="mm: the kernel's result is off by"):
            difference(MM, arrays)


@needs_gcc
def test_times_are_kept_and_read_again(tmp_path):
    path = tmp_path / "measured.jsonl"
    first = Clock(path)
    nest = played(MM, "split_2").nest
    measured = first.measure(MM, nest)
    assert 0 < measured.seconds < 1e-3 and measured.speedup > 0 and first.knows(MM, nest)
    again = Clock(path)
    assert again.knows(MM, nest) and again.measure(MM, nest) == measured
    assert not again.knows(MM, start(MM))
    assert len(path.read_text().splitlines()) == 1
    line = json.loads(path.read_text())
    path.write_text("{}\nnonsense\n" + json.dumps(line | {"machine": "another one"}) + "\n")
    assert not Clock(path).knows(MM, nest)


@needs_gcc
def test_all_kernels_take_turns():
    times = compared(named("mm64_64_64"), {"mine": start(named("mm64_64_64"))})
    assert {*times} == {"mine", "start", "gcc", "numpy"} and min(times.values()) > 0


def test_no_code_of_a_nest_that_breaks_a_rule():
    with pytest.raises(InputError, match="step must be in"):
        code(MM, Nest((Loop("m", 99), *start(MM).compute), start(MM).write))


def test_code_holds_constants_and_annotations():
    text = code(MM, played(MM, "split_2 down unroll").nest)
    assert text.count("#pragma omp simd") >= 3 and "i0 < 3" in text
    # m has two copies, each with k, n; m and n around the write.
    assert text.count("tile[") > 4 and "for (int i1" not in text
    assert "omp simd\n      for (int i2" not in code(MM, played(MM, "down down vectorize").nest)


def test_without_a_compiler_there_is_one_line(monkeypatch):
    compiler.compiler.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="gcc: not found; kernels can be measured only where"):
        compiler.compiler()
    monkeypatch.undo()
    compiler.compiler.cache_clear()
