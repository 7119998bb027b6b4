"""Misuse of the Python API: one line, whatever is handed in."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import jax
import pytest

import mallocgame
from gamekit.errors import InputError
from mallocgame.arguments import check_donate
from mallocgame.xla import loading
from mallocgame.xla.workload import Workload

NAME = "tpu_v4_sample/lstm_scan_v4_64mib"
SHAPE = jax.ShapeDtypeStruct((8, 8), "float32")


def product(a: Any, b: Any) -> Any:
    return a @ b


def load(**more: Any) -> mallocgame.Problem:
    return mallocgame.load(product, SHAPE, SHAPE, **more)


def mapped(**more: Any) -> mallocgame.Result:
    return mallocgame.map(**({"problem": mallocgame.load(NAME)} | more))


@pytest.fixture(autouse=True)
def no_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong argument is found before anything is compiled."""

    def compiled(*arguments: Any, **more: Any) -> None:
        raise AssertionError("was compiled")

    monkeypatch.setattr(loading, "compile_module", compiled)
    monkeypatch.setattr(loading, "require_libtpu", lambda: None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load(donate=(5,)), "donate: must be numbers of the 2 arguments, from 0, got 5"),
        (lambda: load(donate=(-3,)), "donate: must be numbers of the 2 arguments, from 0, got -3"),
        (lambda: load(donate=2), "donate: .* got 2"),
        (lambda: load(donate=True), "donate: .* got True"),
        (lambda: load(donate="0"), "donate: .* got '0'"),
        (lambda: load(donate=None), "donate: .* got None"),
        (lambda: load(donate=(0.0,)), r"donate: .* got 0\.0"),
        (lambda: load(capacity_mib=1.5), r"capacity_mib: must be a whole number .*, got 1\.5"),
        (lambda: load(capacity_mib="8"), "capacity_mib: must be a whole number .*, got '8'"),
        (lambda: load(capacity_mib=0), "capacity_mib: must be a whole number from 1 .*, got 0"),
        (lambda: load(capacity_mib=-4), "capacity_mib: .*, got -4"),
        (lambda: load(capacity_mib=1 << 40), "capacity_mib: .*, got 1099511627776"),
        (lambda: load(name=3), "name: must be text, got 3"),
        (lambda: load(work=__file__), "work: must be a folder, got the file .*test_arguments"),
        (lambda: load(work=Path(__file__, "x")), "work: must be a folder that can be written"),
        (lambda: load(work=7), "work: must be a path, got 7"),
        (lambda: load(work="a\0b"), "work: must be a folder that can be written"),
        (lambda: load(timeout_s="10"), "timeout_s: must be a positive time .*, got '10'"),
        (lambda: load(timeout_s=0), "timeout_s: must be a positive time .*, got 0"),
        (lambda: load(chip=["v4"]), r"chip: must be one of .*, got \['v4'\]"),
        (lambda: mallocgame.load(3), "must get a name, a file, a function or a Workload, got 3"),
        (lambda: mallocgame.load(None), "must get a name, .*, got None"),
        (lambda: mallocgame.load("a\0b"), r"a\\x00b: neither"),
        (lambda: mallocgame.load("x" * 5_000), r"xxx ... xxx.*: (neither|cannot be read)"),
        (lambda: mallocgame.load_all(3), "load_all: must get names and files, got 3"),
        (lambda: Workload(product, (SHAPE,), (1,)), r"donate: must number the 1 arguments"),
        (lambda: mallocgame.map(NAME), "problem: must be a Problem or a Program, got 'tpu_v4"),
        (lambda: mallocgame.map(None), "problem: must be a Problem or a Program, got None"),
        (lambda: mapped(mapper=None), "mapper: must be one of .*, got None"),
        (lambda: mapped(mapper=["greedy"]), r"mapper: must be one of .*, got \['greedy'\]"),
        (lambda: mapped(budget_s="10"), "budget_s: must be a time in seconds, got '10'"),
        (lambda: mapped(budget_s=None), "budget_s: must be a time in seconds, got None"),
        (lambda: mapped(budget_s=-1), "budget_s: must be a time in seconds, got -1"),
        (lambda: mapped(budget_s=float("inf")), "budget_s: must be a time in seconds, got inf"),
        (lambda: mapped(seed="0"), "seed: must be a whole number .*, got '0'"),
        (lambda: mapped(seed=-1), "seed: must be a whole number .*, got -1"),
        (lambda: mapped(seed=2**31), "seed: must be a whole number .*, got 2147483648"),
        (lambda: mapped(seed=0.5), r"seed: must be a whole number .*, got 0\.5"),
        (lambda: mapped(config={}), "config: must be a GameConfig, got {}"),
        (lambda: mallocgame.load(NAME).save(3), "path: must be a path, got 3"),
    ],
)
def test_misuse_is_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_arguments_are_donated_as_jax_has_them():
    for given, found in ((0, (0,)), (-1, (1,)), ((), ()), ([1, -1, 0], (1, 0)), (range(2), (0, 1))):
        assert check_donate(given, 2) == found


@pytest.mark.parametrize("name", ["a/b", "../up", "a\0b", "n" * 5_000, ""])
def test_any_name_has_a_folder(monkeypatch, name, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen = []

    def compiled(text, source, request, folder):
        seen.append((request.name, folder))
        assert folder.is_dir() and tmp_path in folder.resolve().parents
        return types.SimpleNamespace(
            item=types.SimpleNamespace(program=None, mapping=None), module=""
        )

    monkeypatch.setattr(loading, "compile_module", compiled)
    load(name=name)
    assert seen[0][0] == (name or "product")
    assert list(tmp_path.iterdir()) == []
