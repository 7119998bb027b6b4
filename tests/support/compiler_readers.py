"""Valid files of the compiler and their readers, for `tests.support.fuzz_readers`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from mallocgame.program import validate
from mallocgame.program.machine import machine_by_name
from mallocgame.xla.compile.given import read_module
from mallocgame.xla.make.importer import import_dump
from mallocgame.xla.steer.bufferinfo import buffer_benefits
from mallocgame.xla.steer.in_the_loop import CompilerSearch, Wishes, load_search, save_search
from tests.support.xla_sample import files, write_dump

TPU = machine_by_name("tpu_v4")
TEXTS = files()
MODULE = """module @sample {
  func.func public @main(%arg0: tensor<4x8xf32>, %arg1: tensor<8x2xf32>) -> tensor<4x2xf32> {
    %0 = stablehlo.dot_general %arg0, %arg1, contracting_dims = [1] x [0] : (tensor<4x8xf32>, tensor<8x2xf32>) -> tensor<4x2xf32>
    %1 = stablehlo.add %0, %0 : tensor<4x2xf32>
    return %1 : tensor<4x2xf32>
  }
}
"""  # noqa: E501


def _imported() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return import_dump(write_dump(Path(folder) / "sample"), TPU).items[0].program


PROGRAM = _imported()


def search_record() -> dict[str, Any]:
    """A search in the compiler as plain data."""
    wishes = Wishes((0, 1), frozenset({2}), frozenset({(3, 0)}), ((4, 1, 2),))
    search = CompilerSearch(
        "p", "f", "mapping", 1, 900, wishes, 800, 700, 2.0, 3, 1, ((1.0, 2, 700),)
    )
    with tempfile.TemporaryDirectory() as folder:
        save_search(search, Path(folder) / "search.json")
        return json.loads((Path(folder) / "search.json").read_text(encoding="utf-8"))


def read_dump(path: Path) -> None:
    """The file among sound ones."""
    folder = path.parent / "dump"
    write_dump(folder)
    (folder / path.name).write_bytes(path.read_bytes())
    for item in import_dump(folder, TPU).items:
        validate(item.program)
    buffer_benefits(PROGRAM, folder, folder)


def read_text(path: Path) -> None:
    read_module(path)


def read_search(path: Path) -> None:
    load_search(path)


# Name of the file, what it holds when all is well, and who reads it.
COMPILERS = (
    *((name, text, read_dump) for name, text in TEXTS.items()),
    ("module.mlir", MODULE, read_text),
    ("search.json", search_record(), read_search),
)
