"""The process that calls the compiler: ``python -m ...compile_child REQUEST.json``.

A bad option makes the compiler end the whole process, so each step runs in a process of its own.
`mallocgame.xla.compile.compiler` starts it and reads the files that it leaves.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from gamekit.text import say
from mallocgame.xla.compile.given import partitions
from mallocgame.xla.workload import Workload

_SHAPE = re.compile(r"(\w+)\[([\d,\s]*)\]")
_DTYPES = {
    "f32": "float32", "bf16": "bfloat16", "f16": "float16", "s32": "int32", "i32": "int32",
    "u32": "uint32", "s8": "int8", "i8": "int8", "u8": "uint8", "s16": "int16", "i16": "int16",
    "u16": "uint16", "pred": "bool", "bool": "bool",
}  # fmt: skip


def parse_shapes(text: str) -> tuple[Any, ...]:
    """Parses shapes such as ``f32[8,128],s32[]``, one for each argument.

    Raises:
      ValueError: the text is not a list of shapes.
    """
    import jax

    if _SHAPE.sub("", text).replace(",", "").strip():
        raise ValueError(f"--args: must be shapes such as f32[8,128],s32[], got {text!r}")
    shapes = []
    for dtype, dims in _SHAPE.findall(text):
        if dtype not in _DTYPES:
            raise ValueError(
                f"--args: element type must be one of {', '.join(_DTYPES)}, got {dtype!r}"
            )
        sizes = tuple(int(d) for d in dims.split(",") if d.strip())
        shapes.append(jax.ShapeDtypeStruct(sizes, _DTYPES[dtype]))
    return tuple(shapes)


def resolve(name: str, shapes: str | None, keywords: dict[str, Any]) -> Workload:
    """The workload that ``package.module:function`` names.

    With ``shapes`` the function is the workload's own; without, it is called with ``keywords`` and
    returns a `Workload`.

    Raises:
      ValueError: there is no such function, or it returns something else.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ValueError(f"function: must be package.module:function, got {name!r}")
    sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except ImportError as error:
        raise ValueError(
            f"{module_name}: must be installed or importable from the current folder, got: {error}"
        ) from error
    except AttributeError:
        raise ValueError(f"{module_name} has no function {attribute!r}") from None
    if shapes is not None:
        return Workload(function, parse_shapes(shapes), source=name)
    made = function(**keywords)
    if not isinstance(made, Workload):
        raise ValueError(
            f"{name}: must return a Workload, got {type(made).__name__}; "
            "a plain function needs shapes, --args 'f32[8,128],...'"
        )
    return made


def lower(request: dict[str, Any]) -> None:
    """Writes the function as StableHLO for the TPU, and its source; needs no libtpu."""
    workload = resolve(request["function"], request["shapes"], request["keywords"])
    Path(request["out"]).write_text(workload.stablehlo())
    Path(request["about"]).write_text(json.dumps({"source": workload.source}))


def compile_stablehlo(request: dict[str, Any]) -> None:
    """Compiles StableHLO for cores of a topology and writes the optimised, scheduled HLO.

    A module that is sharded over several devices takes as many cores; what is written is the
    program of each of them.

    JAX has no public way to compile StableHLO text for an absent device.  The client of the
    topology's devices, which `jax.jit(...).lower(...).compile()` itself uses, is the shortest way.
    """
    import numpy as np
    from jax.experimental import topologies
    from jax.interpreters import mlir
    from jaxlib import xla_client
    from jaxlib.mlir import ir

    text = Path(request["stablehlo"]).read_text()
    count = partitions(text)
    topology = topologies.get_topology_desc(platform="tpu", topology_name=request["topology"])
    devices = tuple(topology.devices[:count])
    options = xla_client.CompileOptions()
    options.num_replicas, options.num_partitions = 1, count
    ids = np.array([[device.id for device in devices]])
    options.device_assignment = xla_client.DeviceAssignment.create(ids)
    options.executable_build_options.use_spmd_partitioning = True
    options.executable_build_options.use_shardy_partitioner = True
    options.env_option_overrides = list(request["options"].items())
    with mlir.make_ir_context():
        module = ir.Module.parse(text)
        compiled = devices[0].client.compile(module, xla_client.DeviceList(devices), options)
    Path(request["out"]).write_text(read_back(compiled))


def read_back(compiled: Any) -> str:
    """The optimised HLO of what the compiler made.

    Raises:
      ValueError: jaxlib does not know the form in which the compiler gives it.
    """
    import jax

    try:
        (made,) = compiled.hlo_modules()
    except jax.errors.JaxRuntimeError as error:
        first = str(error).partition("\n")[0]
        raise ValueError(
            f"it compiles, but jaxlib {jax.lib.__version__} cannot read what comes of it (work "
            f"that is offloaded to SparseCore, perhaps; another chip may do without): {first}"
        ) from None
    return made.to_string()


def main() -> int:
    """Runs the request in the named file; on failure the last line of stderr says why."""
    request = json.loads(Path(sys.argv[1]).read_text())
    steps = {"lower": lower, "compile": compile_stablehlo}
    try:
        steps[request["step"]](request)
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        say(f"{type(error).__name__}: {first}", error=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
