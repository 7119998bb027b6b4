"""The process that meets the compiler: ``python -m ...compile_child REQUEST.json``.

The compiler ends the whole process at a bad option, so each step runs in one of its own; see
`mallocgame.xla.compile.compiler`, which starts it and reads what it leaves.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from mallocgame.xla.workload import Workload

_SHAPE = re.compile(r"(\w+)\[([\d,\s]*)\]")
_DTYPES = {
    "f32": "float32", "bf16": "bfloat16", "f16": "float16", "s32": "int32", "i32": "int32",
    "u32": "uint32", "s8": "int8", "i8": "int8", "u8": "uint8", "s16": "int16", "i16": "int16",
    "u16": "uint16", "pred": "bool", "bool": "bool",
}  # fmt: skip


def parse_shapes(text: str) -> tuple[Any, ...]:
    """Shapes out of ``f32[8,128],s32[]``, one argument each.

    Raises:
      ValueError: the text is no list of shapes.
    """
    import jax

    if _SHAPE.sub("", text).replace(",", "").strip():
        raise ValueError(f"--args: {text!r} is not a list of shapes like f32[8,128],s32[]")
    shapes = []
    for dtype, dims in _SHAPE.findall(text):
        if dtype not in _DTYPES:
            raise ValueError(f"--args: element type {dtype!r} is none of {', '.join(_DTYPES)}")
        sizes = tuple(int(d) for d in dims.split(",") if d.strip())
        shapes.append(jax.ShapeDtypeStruct(sizes, _DTYPES[dtype]))
    return tuple(shapes)


def resolve(name: str, shapes: str | None, keywords: dict[str, Any]) -> Workload:
    """The workload that ``package.module:function`` names.

    Without ``shapes`` the function makes a `Workload` out of ``keywords``, with them it is itself
    the workload's function.

    Raises:
      ValueError: the name leads nowhere, or the function makes something else.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ValueError(f"{name!r} is not package.module:function")
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
            f"{name} returned {type(made).__name__}, not a Workload; "
            "a plain function needs its shapes, --args 'f32[8,128],...'"
        )
    return made


def lower(request: dict[str, Any]) -> None:
    """Writes the function as StableHLO for the TPU, and where it comes from; needs no libtpu."""
    workload = resolve(request["function"], request["shapes"], request["keywords"])
    Path(request["out"]).write_text(workload.stablehlo())
    Path(request["about"]).write_text(json.dumps({"source": workload.source}))


def compile_stablehlo(request: dict[str, Any]) -> None:
    """Compiles StableHLO for one core of a topology and writes the optimised, scheduled HLO.

    JAX has no public way from StableHLO text to a compile for an absent device; the client of the
    topology's devices, which `jax.jit(...).lower(...).compile()` uses itself, is the shortest one.
    """
    import numpy as np
    from jax.experimental import topologies
    from jax.interpreters import mlir
    from jaxlib import xla_client
    from jaxlib.mlir import ir

    topology = topologies.get_topology_desc(platform="tpu", topology_name=request["topology"])
    device = topology.devices[0]
    options = xla_client.CompileOptions()
    options.num_replicas = options.num_partitions = 1
    options.device_assignment = xla_client.DeviceAssignment.create(np.array([[device.id]]))
    options.executable_build_options.use_spmd_partitioning = True
    options.executable_build_options.use_shardy_partitioner = True
    options.env_option_overrides = list(request["options"].items())
    with mlir.make_ir_context():
        module = ir.Module.parse(Path(request["stablehlo"]).read_text())
        devices = xla_client.DeviceList((device,))
        compiled = device.client.compile(module, devices, options)
    (made,) = compiled.hlo_modules()
    Path(request["out"]).write_text(made.to_string())


def main() -> int:
    """Runs the request in the file that is named; the last line of stderr says why not."""
    request = json.loads(Path(sys.argv[1]).read_text())
    steps = {"lower": lower, "compile": compile_stablehlo}
    try:
        steps[request["step"]](request)
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        print(f"{type(error).__name__}: {first}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
