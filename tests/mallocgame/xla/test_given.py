"""What cannot become a program is refused before anything is compiled, in the user's words."""

import sys
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import pytest

from gamekit.errors import InputError
from mallocgame.xla.compile.given import partitions, read_module
from mallocgame.xla.workload import Workload

F = jax.ShapeDtypeStruct((8, 8), jnp.float32)
SCALAR = jax.ShapeDtypeStruct((), jnp.float32)
GOOD = """module {
  func.func @main(%a: tensor<8x8xf32>) -> tensor<8x8xf32> { return %a : tensor<8x8xf32> }
}
"""


def printing(x):
    y = x @ x
    jax.debug.print("{m}", m=y.mean())
    return y


def in_a_loop(x):
    return jax.lax.fori_loop(0, 3, lambda i, c: printing(c), x)


def asking(x):
    return jax.pure_callback(lambda v: v, F, x)


@pytest.mark.parametrize("function", [printing, in_a_loop, asking])
def test_calls_of_the_host_are_named_with_their_line(function):
    with pytest.raises(InputError, match=r"test_given\.py:\d+: .*(jax\.debug|pure_callback)"):
        Workload(function, (F,)).stablehlo()


def test_scalars_and_empty_arrays_leave_nothing_to_map():
    for shape in (SCALAR, jax.ShapeDtypeStruct((0, 4), jnp.float32)):
        with pytest.raises(InputError, match="nothing to map"):
            Workload(lambda a: a + 1, (shape,)).stablehlo()


def test_a_jitted_function_keeps_what_it_donates():
    jitted = jax.jit(lambda x: x + 1, donate_argnums=0)
    assert "tf.aliasing_output" in Workload(jitted, (F,)).stablehlo()


def test_text_and_bytecode_are_read(tmp_path: Path):
    (tmp_path / "a.mlir").write_text(GOOD)
    assert "@main" in read_module(tmp_path / "a.mlir")
    exported = jax.export.export(jax.jit(lambda x: x @ x), platforms=["tpu"])(F)
    (tmp_path / "b.mlir.bc").write_bytes(exported.mlir_module_serialized)
    text = read_module(tmp_path / "b.mlir.bc")
    assert "stablehlo.dot_general" in text and partitions(text) == 1
    assert partitions("module attributes {mhlo.num_partitions = 4 : i32} {}") == 4


def test_what_jax_export_writes_is_read(tmp_path: Path):
    exported = jax.export.export(jax.jit(lambda x: x @ x), platforms=["tpu"])(F)
    raw = exported.serialize()
    (tmp_path / "c.jaxexport").write_bytes(raw)
    assert read_module(tmp_path / "c.jaxexport") == str(exported.mlir_module())
    (tmp_path / "d.jaxexport").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match=r"d\.jaxexport: must be StableHLO or a jax\.export file"):
        read_module(tmp_path / "d.jaxexport")


def test_without_flatbuffers_a_file_of_jax_export_is_refused_in_one_line(tmp_path, monkeypatch):
    exported = jax.export.export(jax.jit(lambda x: x @ x), platforms=["tpu"])(F)
    (tmp_path / "c.jaxexport").write_bytes(exported.serialize())
    for name in [m for m in sys.modules if m.startswith("jax._src.export.serial")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(InputError, match="pip install flatbuffers"):
        read_module(tmp_path / "c.jaxexport")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "must be StableHLO, got: .*hello"),
        (GOOD.replace("@main", "@predict").encode(), "must have a function @main, got @predict"),
        (GOOD.replace("8x8", "?x8").encode(), r"line 2: sizes must be constants, got tensor<\?x8"),
        (GOOD.replace("8x8x", "").encode(), "nothing to map"),
        (b"\xff\xfe\xfa text", "must be StableHLO text or MLIR bytecode"),
        (b"\x08\0\0\0 something else", "jax.export file"),
        (b"ML\xefR cut off", "must be StableHLO"),
    ],
)
def test_what_cannot_be_compiled_is_one_line(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "m.mlir"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_module(path)
    assert "m.mlir" in str(caught.value) and "\n" not in str(caught.value)
