"""Annotations that cannot be kept together, each time the smallest set of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from gamekit.errors import InputError
from games.fences.program.flatten import Flat, Raw, reads_input
from games.fences.program.program import CPU, DEVICE_NAMES, GPU, exclude
from games.fences.program.syntax import Annotation, Before, Cost, Deterministic, Item, On
from games.fences.program.tokens import Place

Edge = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Conflict:
    """kind: "impossible" or "ambiguous". annotations: the set, none of which can be left out."""

    kind: str
    annotations: tuple[Annotation, ...]
    why: str

    @property
    def place(self) -> Place:
        return self.annotations[-1].place

    def error(self) -> InputError:
        """One line that names every annotation of the set with its line."""
        told = " and ".join(f"'{a}' (line {a.place.line})" for a in self.annotations)
        return self.place.error(f"{self.kind}: {told}: {self.why}")


def operations_of(flat: Flat, item: Item) -> list[int]:
    """The operations that an item names.

    Raises:
      InputError: there is none.
    """
    key = (item.name, item.prints)
    found = [i for i, raw in enumerate(flat.operations) if (raw.name, raw.prints) == key]
    if not found:
        raise item.place.error(f"there is no {'' if item.prints else 'value '}{item}")
    return found


def order_edges(flat: Flat, before: Before) -> list[Edge]:
    """The pairs (first, second) of operations that an order is about: those of one run.

    Raises:
      InputError: an item names no operation, or the two never are in one run.
    """
    edges = [
        (a, b)
        for a in operations_of(flat, before.first)
        for b in operations_of(flat, before.second)
        if not exclude(flat.operations[a].guard, flat.operations[b].guard)
    ]
    if not edges:
        raise before.place.error(f"'{before}': the two never are in one run")
    return edges


def conflicts_of(flat: Flat, annotations: Sequence[Annotation]) -> list[Conflict]:
    """All conflicts found, those of the fewest annotations first.

    Raises:
      InputError: an annotation names what is not there.
    """
    for annotation in annotations:
        if isinstance(annotation, On | Cost):
            operations_of(flat, annotation.item)
    found = [
        *_costs(flat, annotations),
        *_devices(flat, annotations),
        *_circles(flat, [a for a in annotations if isinstance(a, Before)]),
    ]
    # Prints can be said to be unordered once the order holds no circle.
    if not any(isinstance(a, Before) for c in found for a in c.annotations):
        found += _unordered(flat, annotations)
    unique = {frozenset(map(id, c.annotations)): c for c in reversed(found)}
    # What is in conflict by a part of it alone says nothing more than that part.
    smallest = [c for own, c in unique.items() if not any(other < own for other in unique)]
    return sorted(smallest, key=lambda c: (len(c.annotations), c.place.line, c.place.column))


def _about(flat: Flat, annotation: On | Cost, operation: int) -> bool:
    return operation in operations_of(flat, annotation.item)


def _costs(flat: Flat, annotations: Sequence[Annotation]) -> Iterator[Conflict]:
    """Two figures for one thing."""
    costs = [a for a in annotations if isinstance(a, Cost)]
    for a, b in itertools.combinations(costs, 2):
        if (a.item, a.key) == (b.item, b.key) and a.value != b.value:
            yield Conflict("ambiguous", (a, b), f"two figures for {a.item} {a.key}")


def _devices(flat: Flat, annotations: Sequence[Annotation]) -> Iterator[Conflict]:
    """Operations that no device is left for."""
    for number, raw in enumerate(flat.operations):
        against: list[list[Annotation]] = [[], []]
        for annotation in annotations:
            if isinstance(annotation, On | Cost) and _about(flat, annotation, number):
                device = _excluded(annotation)
                if device is not None:
                    against[device].append(annotation)
        nature = host_only(raw)
        if nature:
            for annotation in against[CPU]:
                yield Conflict("impossible", (annotation,), f"{nature} runs on the CPU")
        for a, b in itertools.product(against[CPU], against[GPU]) if not nature else ():
            both = isinstance(a, On) and isinstance(b, On)
            kind = "ambiguous" if both else "impossible"
            why = f"two devices for {raw}" if both else f"no device is left for {raw}"
            pair = sorted((a, b), key=lambda it: (it.place.line, it.place.column))
            yield Conflict(kind, tuple(pair), why)


def host_only(raw: Raw) -> str:
    """Why an operation can only run on the CPU; empty where it can run on both."""
    if raw.prints:
        return "print"
    return "input()" if reads_input(raw.value) else ""


def _excluded(annotation: On | Cost) -> int | None:
    """The device that an annotation leaves no room for."""
    if isinstance(annotation, On):
        return 1 - DEVICE_NAMES.index(annotation.device)
    if annotation.value is None:
        return CPU if annotation.key == "cpu" else GPU
    return None


def _circles(flat: Flat, orders: Sequence[Before]) -> Iterator[Conflict]:
    """For every order that is in a circle, the circle of the fewest orders through it."""
    by_order = [order_edges(flat, order) for order in orders]
    data = [(p, c) for c, raw in enumerate(flat.operations) for p in raw.data]
    for number, edges in enumerate(by_order):
        circles = []
        for first, second in edges:
            path = _fewest(second, first, data, by_order, free=number)
            if path is not None:
                circles.append((len({number, *path[1]}), [first, *path[0]], {number, *path[1]}))
        if circles:
            _, nodes, used = min(circles, key=lambda it: (it[0], len(it[1])))
            told = " -> ".join(str(flat.operations[n]) for n in nodes)
            yield Conflict("impossible", tuple(orders[i] for i in sorted(used)), f"a circle {told}")


def _fewest(
    start: int, goal: int, data: Sequence[Edge], by_order: Sequence[Sequence[Edge]], free: int
) -> tuple[list[int], set[int]] | None:
    """A path with the fewest orders, that of number `free` not counted: its nodes, its orders."""
    steps = [(a, b, -1) for a, b in data]
    steps += [(a, b, n) for n, edges in enumerate(by_order) for a, b in edges]
    best: dict[int, tuple[int, list[int], set[int]]] = {start: (0, [start], set())}
    changed = True
    while changed:
        changed = False
        for a, b, number in steps:
            if a not in best:
                continue
            count, path, used = best[a]
            used = used if number in (-1, free) else used | {number}
            count = len(used)
            if b not in best or count < best[b][0]:
                best[b] = (count, [*path, b], used)
                changed = True
    return (best[goal][1], best[goal][2]) if goal in best else None


def _unordered(flat: Flat, annotations: Sequence[Annotation]) -> Iterator[Conflict]:
    """Prints of one run without an order, where the program asks for one."""
    wish = next((a for a in annotations if isinstance(a, Deterministic)), None)
    if wish is None:
        return
    edges = {(p, c) for c, raw in enumerate(flat.operations) for p in raw.data}
    for order in (a for a in annotations if isinstance(a, Before)):
        edges |= set(order_edges(flat, order))
    reach = _reachable(len(flat.operations), edges)
    prints = [i for i, raw in enumerate(flat.operations) if raw.prints]
    for a, b in itertools.combinations(prints, 2):
        first, second = flat.operations[a], flat.operations[b]
        if not exclude(first.guard, second.guard) and b not in reach[a] and a not in reach[b]:
            lines = f"lines {first.place.line} and {second.place.line}"
            yield Conflict("ambiguous", (wish,), f"{first} and {second} ({lines}) have no order")


def _reachable(count: int, edges: set[Edge]) -> list[set[int]]:
    reach: list[set[int]] = [set() for _ in range(count)]
    changed = True
    while changed:
        changed = False
        for a, b in edges:
            more = {b} | reach[b]
            if not more <= reach[a]:
                reach[a] |= more
                changed = True
    return reach
