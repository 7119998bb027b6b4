"""Workloads of Stream: layers with the sizes of their loops, from YAML."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

from gamekit.errors import InputError
from gamekit.jsonfile import Record, short
from games.cores.stream.machine import read_yaml

# What the workloads call operators that the cores list under another name.
ALIASES = {"Pooling": "MaxPool", "Conv_downsample": "Conv", "GlobalMaxPool": "MaxPool"}
MOST_LAYERS = 2000


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer. loops: sizes by name. channels: the loop along which it is cut into tiles.

    inputs: layers that it reads; -1 for the network's input. mixes: whether each tile reads all
    channels of its inputs, not only its own. bits: of the output, input_bits: of the network's
    input, weight_bits: of weights.
    """

    name: str
    kind: str
    loops: dict[str, int]
    channels: str
    inputs: tuple[int, ...]
    mixes: bool
    bits: int
    input_bits: int = 0
    weight_bits: int = 0


def load_workload(path: Path) -> list[Layer]:
    """Reads a workload, YAML or ONNX, in topological order.

    Raises:
      InputError: the file is unusable; the message names it, the field and the value.
    """
    if path.suffix == ".onnx":
        from games.cores.stream.onnx_file import load_onnx

        return load_onnx(path)
    data = read_yaml(path)
    if not isinstance(data, list) or not data or len(data) > MOST_LAYERS:
        raise InputError(f"{path}: must be a list of 1..{MOST_LAYERS} layers, got {short(data)}")
    places: dict[int, int] = {}
    layers = []
    for record in Record({"layers": data}, str(path)).records("layers"):
        layers.append(_layer(record, places))
        number = record.integer("id")
        if number in places:
            raise record.error("id", f"must be a number of its own, got {number} again")
        places[number] = len(layers) - 1
    return layers


def _layer(record: Record, places: dict[int, int]) -> Layer:
    number, kind = record.integer("id"), record.string("operator_type")
    names, sizes = record.strings("loop_dims"), record.integers("loop_sizes")
    if len(names) != len(sizes) or len(set(names)) < len(names):
        raise record.error("loop_sizes", f"must be a size for each of {short(list(names))}")
    for size in sizes:
        if not 1 <= size <= 1 << 24:
            raise record.error("loop_sizes", f"must be in 1..2^24, got {size}")
    loops = dict(zip(names, sizes, strict=True))
    channels = "K" if "K" in loops else "G"
    if channels not in loops:
        raise record.error("loop_dims", f"must have K or G, got {short(list(names))}")
    precision, sources = record.record("operand_precision"), record.record("operand_source")
    inputs: list[int] = []
    weights = 0
    for operand in sources.fields():
        source = sources.integer(operand)
        if operand == "W" and source == number:
            if precision.integer("W", 0):
                weights = _product(loops, ("K", "C", "FY", "FX")) * precision.integer("W", 0)
        elif source == number or source not in places:
            if source != number:
                raise sources.error(operand, f"must be an earlier layer, got {source}")
            inputs.append(-1)
        elif places[source] not in inputs:
            inputs.append(places[source])
    made = _product(loops, ("B", channels, "OY", "OX")) * precision.integer("O_final", 8)
    taken = 0
    if -1 in inputs:
        strides = _strides(record)
        taken = precision.integer("I", 8) * loops.get("B", 1) * loops.get("C", loops.get("G", 1))
        for axis in ("X", "Y"):
            length = strides.get(axis, 1) * (loops.get(f"O{axis}", 1) - 1) + loops.get(
                f"F{axis}", 1
            )
            taken *= length
    if not inputs or min(made, taken, weights) < 0:
        raise record.error("operand_source", "must name an input, and sizes must be at least 0")
    own = record.string("name", f"{kind}{number}")
    kind = ALIASES.get(kind, kind)
    return Layer(own, kind, loops, channels, tuple(inputs), "C" in loops, made, taken, weights)


def _product(loops: dict[str, int], names: tuple[str, ...]) -> int:
    return math.prod(loops.get(name, 1) for name in names)


def _strides(record: Record) -> dict[str, int]:
    """From relations such as ix=2*ox+1*fx."""
    found = {}
    if "dimension_relations" in record.fields():
        for relation in record.strings("dimension_relations"):
            match = re.fullmatch(r"i([xy])=(\d{1,4})\*o\1\+.*", relation.replace(" ", ""))
            if match:
                found[match[1].upper()] = int(match[2])
    return found
