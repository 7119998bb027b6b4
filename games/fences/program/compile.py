"""From text to a program: parse, flatten, check annotations, apply them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from games.fences.program.conflicts import (
    Conflict,
    conflicts_of,
    host_only,
    operations_of,
    order_edges,
)
from games.fences.program.flatten import Flat, flatten, reads_input
from games.fences.program.parser import parse
from games.fences.program.program import CPU, DEVICE_NAMES, GPU, Operation, Program, Weights
from games.fences.program.syntax import Annotation, Before, Block, Cost, File, On, Weight
from games.fences.program.write import program_text

DEFAULT_TIME, DEFAULT_BYTES = 1.0, 4.0
Of = TypeVar("Of", bound=Annotation)


def compile_text(text: str, name: str, source: str | None = None) -> Program:
    """The program that a text says; a schedule in it is left alone.

    source: what errors call it, the name without one.

    Raises:
      InputError: the text is not of the language, or its annotations are in conflict.
    """
    return compile_file(parse(text, source or name), name)[0]


def compile_file(file: File, name: str) -> tuple[Program, tuple[Block, ...] | None]:
    """The program of a parsed file, and the blocks of its schedule.

    Raises:
      InputError: see `compile_text`.
    """
    flat = flatten(file)
    conflicts = conflicts_of(flat, file.annotations)
    if conflicts:
        raise conflicts[0].error()
    operations = tuple(_operation(flat, i, file.annotations) for i in range(len(flat.operations)))
    text = program_text(file, [raw.name for raw in flat.operations])
    return Program(name, operations, flat.conditions, _weights(file.weights), text), file.blocks


def all_conflicts(text: str, source: str) -> list[Conflict]:
    """Every conflict among the annotations of a text.

    Raises:
      InputError: the text is not of the language.
    """
    file = parse(text, source)
    return conflicts_of(flatten(file), file.annotations)


def _about(flat: Flat, annotations: Sequence[Annotation], kind: type[Of], number: int) -> list[Of]:
    return [
        a
        for a in annotations
        if isinstance(a, kind)
        and isinstance(a, On | Cost)
        and number in operations_of(flat, a.item)
    ]


def _operation(flat: Flat, number: int, annotations: Sequence[Annotation]) -> Operation:
    raw = flat.operations[number]
    figures = {a.key: a.value for a in _about(flat, annotations, Cost, number)}
    times = [figures.get("cpu", DEFAULT_TIME), figures.get("gpu", DEFAULT_TIME)]
    if host_only(raw):
        times[GPU] = None
    for on in _about(flat, annotations, On, number):
        times[1 - DEVICE_NAMES.index(on.device)] = None
    orders = [a for a in annotations if isinstance(a, Before)]
    after = {a for order in orders for a, b in order_edges(flat, order) if b == number}
    size = figures.get("bytes", DEFAULT_BYTES)
    return Operation(
        name=raw.name,
        prints=raw.prints,
        value=raw.value,
        reads_input=reads_input(raw.value),
        guard=tuple((flat.conditions.index(name), branch) for name, branch in raw.guard),
        data=raw.data,
        after=tuple(sorted(after - set(raw.data))),
        times=(times[CPU], times[GPU]),
        bytes=0.0 if raw.prints or size is None else size,
        place=raw.place,
    )


def _weights(weights: Sequence[Weight]) -> Weights:
    seen: dict[str, float] = {}
    for weight in weights:
        if weight.key in seen:
            raise weight.place.error(f"the weight {weight.key!r} is there twice")
        seen[weight.key] = weight.value
    return Weights(**seen)
