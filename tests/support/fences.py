"""Programs and schedules of the game of fences, for its tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from games.fences.domain import text_of
from games.fences.mappers.simple import batching, critical_path
from games.fences.program.compile import compile_text
from games.fences.program.naive import naive_placements
from games.fences.program.program import Program
from games.fences.suites.generate import generate

BRANCHES = """b = input()
x = input()
y = input()
if (b) { z = x + y } else { z = x - y }
GPU { z }
"""
OVERLAP = """x = input()
y = input()
z = input()
a = x + y
b = x * y
c = x - z
d = y / z
print(a)
GPU { a b }
CPU { c d }
print(a) before d
"""


def program(text: str) -> Program:
    return compile_text(text, "program")


def generated(operations: int, seed: int) -> Program:
    return compile_text(generate(operations, seed), f"generated_{operations}_{seed}")


def schedules(of: Program) -> list[str]:
    """Texts of schedules that keep the rules."""
    rules = (naive_placements, batching, critical_path)
    return [text_of(of, tuple(rule(of))) for rule in rules]


def damaged(text: str) -> Iterator[str]:
    """Schedules of one line less, or with one line moved by one place within its block."""
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if "sync" in line:
            yield "\n".join(lines[:at] + lines[at + 1 :])
    for at in range(1, len(lines)):
        pair = lines[at - 1 : at + 1]
        if not any("{" in line or "}" in line or line == "schedule" for line in pair):
            yield "\n".join(lines[: at - 1] + pair[::-1] + lines[at + 1 :])


def all_schedules(of: Program, most_hand_overs: int) -> Iterator[str]:
    """Every schedule of a small program, as texts, right or wrong: all devices, all orders, all
    sets of at most so many fences with a sync each."""
    numbers = range(len(of.operations))
    for devices in itertools.product((0, 1), repeat=len(of.operations)):
        if not all(of.operations[i].may_run(d) for i, d in enumerate(devices)):
            continue
        cpu, gpu = ([i for i in numbers if devices[i] == d] for d in (0, 1))
        for streams in itertools.product(itertools.permutations(cpu), itertools.permutations(gpu)):
            pairs = [*itertools.product(*streams), *itertools.product(*streams[::-1])]
            for count in range(most_hand_overs + 1):
                for chosen in itertools.combinations(pairs, count):
                    text = _text(of, streams, chosen)
                    if text is not None:
                        yield text


def _guarded(of: Program, number: int) -> str:
    """An operation in ifs of its own."""
    op = of.operations[number]
    text = str(op.item)
    for condition, branch in reversed(op.guard):
        inside = f"{{ {text} }}" if branch else f"{{ }} else {{ {text} }}"
        text = f"if ({of.conditions[condition]}) {inside}"
    return text


def _text(of: Program, streams: tuple, hand_overs: tuple[tuple[int, int], ...]) -> str | None:
    """The text with a fence behind the first one and a sync before the second one of each pair.

    None where the streams wait for each other.
    """
    queues: list[list[tuple[str, str]]] = [[], []]
    for device, stream in enumerate(streams):
        for i in stream:
            for name, (_, reader) in enumerate(hand_overs):
                if reader == i:
                    queues[device].append(("sync", f"f{name}"))
            queues[device].append(("run", _guarded(of, i)))
            for name, (maker, _) in enumerate(hand_overs):
                if maker == i:
                    queues[device].append(("fence", f"f{name}"))
    lines, fenced, device = ["schedule"], set[str](), 0
    stuck = 0
    while any(queues):
        taken = []
        while queues[device] and not (
            queues[device][0][0] == "sync" and queues[device][0][1] not in fenced
        ):
            kind, name = queues[device].pop(0)
            if kind == "fence":
                fenced.add(name)
            taken.append({"run": name, "fence": f"--- {name}", "sync": f"sync({name})"}[kind])
        if taken:
            lines.append(f"{('CPU', 'GPU')[device]} {{ {' '.join(taken)} }}")
        stuck = 0 if taken else stuck + 1
        if stuck == 2:
            return None
        device = 1 - device
    return "\n".join(lines)
