"""Workloads in ONNX (extra `onnx`): shapes are inferred, weights are not needed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from gamekit.errors import InputError
from gamekit.files import read_bytes
from games.cores.stream.workload import ALIASES, MOST_LAYERS, Layer

BITS = 8  # of an element, in memory
POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
# Nodes that change no data; their output is their first input.
SAME = ("Flatten", "Reshape", "Transpose", "Identity", "Dropout", "Squeeze", "Unsqueeze", "Cast")
ELEMENTWISE = (
    "Add", "Sub", "Mul", "Div", "Relu", "Sigmoid", "Silu", "Gelu", "Tanh", "Exp", "Pow", "Softmax",
    "BatchNormalization", "Clip", "LeakyRelu", "PRelu", "Sqrt", "Swish", "HardSwish",
)  # fmt: skip


def load_onnx(path: Path) -> list[Layer]:
    """The layers of a network.

    Raises:
      InputError: the package is not installed, the file is unusable, or a node is not known.
    """
    try:
        import onnx  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            f"{path}: needs the package onnx; pip install 'mallocgame[onnx]'"
        ) from None
    try:
        model = onnx.load_model_from_string(read_bytes(path))
        graph = onnx.shape_inference.infer_shapes(model).graph
    except InputError:
        raise
    except Exception as error:  # whatever protobuf and the checker raise
        raise InputError(f"{path}: must be ONNX, got: {error}") from None
    shapes = {
        info.name: tuple(d.dim_value for d in info.type.tensor_type.shape.dim)
        for info in (*graph.input, *graph.value_info, *graph.output)
    }
    constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    # Of tensors without a node: weights if they are named as such, else the network's input.
    shapes |= constants
    given = {info.name for info in graph.input} - set(constants)
    first = next((i.name for i in graph.input if i.name in given), None)
    made: dict[str, int] = {}
    layers: list[Layer] = []
    for node in graph.node:
        if len(layers) >= MOST_LAYERS:
            raise InputError(f"{path}: must have at most {MOST_LAYERS} layers")
        operator = str(node.op_type)
        kind = ALIASES.get(operator, operator)
        if kind == "Constant":
            continue
        if kind in SAME:
            source = node.input[0] if node.input else ""
            if source in made:
                made[node.output[0]] = made[source]
            elif source == first:
                first = node.output[0]
            continue
        layers.append(_layer(path, node, kind, shapes, made, first))
        for output in node.output:
            made[output] = len(layers) - 1
    if not layers:
        raise InputError(f"{path}: must have at least one layer")
    return layers


def _layer(
    path: Path,
    node: Any,
    kind: str,
    shapes: dict[str, tuple[int, ...]],
    made: dict[str, int],
    first: str | None,
) -> Layer:
    name = node.name or node.output[0]

    def shape(tensor: str) -> list[int]:
        found = shapes.get(tensor, ())
        if not found or min(found) < 1:
            raise InputError(f"{path}: {name}: must have known sizes, {tensor!r} has {found}")
        return list(found)

    out = shape(node.output[0])
    inputs = [made[t] for t in node.input if t in made]
    reads_first = first is not None and first in node.input
    read: list[int] = [*inputs, -1] if reads_first else inputs
    sources = tuple(dict.fromkeys(read))
    if not sources:
        raise InputError(f"{path}: {name}: must read the network's input or another layer")
    held = [t for t in node.input if t and t not in made and t != first and shapes.get(t)]
    weights = BITS * math.prod(shape(held[0])) if held and kind in ("Conv", "Gemm", "MatMul") else 0
    taken = BITS * math.prod(shape(first)) if reads_first and first else 0
    if kind == "Conv":
        kernel = shape(node.input[1])
        loops = {"K": out[1], "C": kernel[1], "OY": out[2] if len(out) > 2 else 1,
                 "OX": out[3] if len(out) > 3 else 1, "FY": kernel[2],
                 "FX": kernel[3] if len(kernel) > 3 else 1}  # fmt: skip
        depthwise = kernel[1] == 1 and out[1] > 1 and shape(node.input[0])[1] > 1
        return Layer(name, kind, loops, "K", sources, not depthwise, BITS * math.prod(out), taken,
                     weights)  # fmt: skip
    if kind in ("Gemm", "MatMul"):
        reduction = shape(node.input[0])[-1]
        rows = math.prod(out[:-1])
        loops = {"B": rows, "K": out[-1], "C": reduction}
        return Layer(name, "Gemm", loops, "K", sources, True, BITS * math.prod(out), taken, weights)
    if kind in POOLS:
        window = math.prod(shape(node.input[0])[2:]) if kind.startswith("Global") else 1
        for attribute in node.attribute:
            if attribute.name == "kernel_shape":
                window = math.prod(attribute.ints)
        loops = {"G": out[1], "O": math.prod(out[2:]), "F": max(window, 1)}
    elif kind in ELEMENTWISE:
        channels = out[1] if len(out) > 2 else out[-1]
        loops = {"G": channels, "O": math.prod(out) // channels}
    else:
        raise InputError(f"{path}: {name}: must be a known operator, got {node.op_type!r}")
    return Layer(name, kind, loops, "G", sources, False, BITS * math.prod(out), taken)
