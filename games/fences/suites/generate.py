"""Programs by chance, as texts of the language."""

from __future__ import annotations

import numpy as np

LEAST, MOST = 5, 32
ARITHMETIC = ("+", "-", "*", "/")


def generate(operations: int, seed: int) -> str:
    """A program of so many operations; the same numbers give the same text.

    Half of the programs have a condition; some values are computed in both of its branches.  Times,
    bytes, weights and annotations are drawn too, and contradict each other never.
    """
    rng = np.random.default_rng([operations, seed])
    return _Draft(rng, operations).text()


class _Draft:
    def __init__(self, rng: np.random.Generator, operations: int):
        self._rng, self._left = rng, operations
        self._lines: list[str] = []
        # Values that all may read, and those that nobody has read.
        self._values: list[str] = []
        self._unread: list[str] = []
        self._computed: list[str] = []
        self._count = 0

    def text(self) -> str:
        rng = self._rng
        prints = int(rng.integers(1, 3)) if self._left > 6 else 1
        conditions = self._inputs(int(rng.integers(2, 4)))
        while self._left > prints:
            spare = self._left - prints
            if conditions and spare >= 2 and rng.random() < 0.3:
                self._branches(str(rng.choice(conditions)), spare)
            elif len(conditions) == 1 and spare >= 3 and rng.random() < 0.1:
                conditions.append(self._comparison())
            else:
                self._assign(*self._expression())
        shown = self._prints()
        self._annotate(shown)
        return "\n".join(self._lines) + "\n"

    def _name(self, letter: str = "v") -> str:
        self._count += 1
        return f"{letter}{self._count}"

    def _inputs(self, count: int) -> list[str]:
        for _ in range(count):
            name = self._name("x")
            self._lines.append(f"{name} = input()")
            self._values.append(name)
            self._unread.append(name)
        self._left -= count
        if self._left < 5 or self._rng.random() < 0.5:
            return []
        self._lines.append("b = input()")
        self._left -= 1
        return ["b"]

    def _expression(self, more: tuple[str, ...] = ()) -> tuple[str, list[str]]:
        """An expression, and what it reads."""
        rng = self._rng
        pool = [*self._values, *more]
        # What nobody has read yet, and what is new, is read sooner.
        weights = np.array([(3.0 if v in self._unread else 1.0) + i for i, v in enumerate(pool)])
        count = min(len(pool), 1 if rng.random() < 0.25 else 2)
        read = [str(v) for v in rng.choice(pool, count, replace=False, p=weights / weights.sum())]
        if count == 1:
            return f"{read[0]} {rng.choice(ARITHMETIC)} {rng.integers(2, 9)}", read
        return f" {rng.choice(ARITHMETIC)} ".join(read), read

    def _assign(self, expression: str, read: list[str]) -> None:
        name = self._name()
        self._lines.append(f"{name} = {expression}")
        self._made(name, read)
        self._left -= 1

    def _made(self, name: str, read: list[str]) -> None:
        self._unread = [v for v in self._unread if v not in read]
        self._values.append(name)
        self._unread.append(name)
        self._computed.append(name)

    def _comparison(self) -> str:
        name = self._name("c")
        first, second = self._rng.choice(self._values, 2, replace=False)
        self._lines.append(f"{name} = {first} == {second}")
        self._computed.append(name)
        self._left -= 1
        return name

    def _branches(self, condition: str, spare: int) -> None:
        """A value that both branches compute, one perhaps by a value of its own."""
        name, more = self._name(), ()
        yes: list[str] = []
        if spare >= 3 and self._rng.random() < 0.4:
            own = self._name()
            yes.append(f"{own} = {self._expression()[0]}")
            self._computed.append(own)
            more = (own,)
            self._left -= 1
        (first, one), (second, two) = self._expression(more), self._expression()
        yes.append(f"{name} = {first}")
        self._lines += [f"if ({condition}) {{", *(f"  {line}" for line in yes)]
        self._lines += ["} else {", f"  {name} = {second}", "}"]
        self._left -= 2
        self._made(name, [*one, *two])

    def _prints(self) -> list[str]:
        pool = [*reversed(self._unread), *(v for v in self._values if v not in self._unread)]
        shown = pool[: self._left]
        self._lines += [f"print({name})" for name in shown]
        return shown

    def _annotate(self, shown: list[str]) -> None:
        rng = self._rng
        devices: dict[str, list[str]] = {"CPU": [], "GPU": []}
        for name in self._computed:
            if rng.random() < 0.4:
                devices["GPU" if rng.random() < 0.6 else "CPU"].append(name)
        self._lines += [f"{d} {{ {' '.join(names)} }}" for d, names in devices.items() if names]
        if len(shown) == 2 and rng.random() < 0.5:
            self._lines.append(f"print({shown[0]}) before print({shown[1]})")
        for name in self._computed:
            cpu, gpu = rng.integers(1, 9), rng.integers(1, 5)
            size = rng.choice([1, 4, 16, 64])
            self._lines.append(f"cost {name} cpu {cpu} gpu {gpu} bytes {size}")
        fence, sync = rng.integers(1, 7, 2)
        byte, latency = rng.choice(["0", "0.02", "0.1"]), rng.integers(0, 5)
        self._lines.append(
            f"weights instruction 1 fence {fence} sync {sync} byte {byte} time 1 latency {latency}"
        )
