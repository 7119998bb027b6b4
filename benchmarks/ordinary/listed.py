"""How a program gets into the list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mallocgame.xla.workload import Workload


@dataclass(frozen=True)
class Ordinary:
    """A program and what it is compiled for.

    like: the library or field in whose manner it is written.
    capacity_mib: fast memory; None for all that the chip has.
    """

    workload: Workload
    like: str
    chip: str = "v4"
    capacity_mib: int | None = None


PROGRAMS: dict[str, Ordinary] = {}


def ordinary(
    like: str,
    *shapes: Any,
    chip: str = "v4",
    capacity_mib: int | None = None,
    donate: tuple[int, ...] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enters a function of arguments with these shapes into `PROGRAMS`."""

    def entered(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        workload = Workload(function, shapes, donate, f"benchmarks.ordinary: {name}")
        PROGRAMS[name] = Ordinary(workload, like, chip, capacity_mib)
        return function

    return entered
