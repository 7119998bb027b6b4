"""Measures nests by chance, of computations by chance."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from gamekit.errors import InputError
from games.loops.fit.sample import by_moves, by_structure
from games.loops.judge.clock import Clock
from games.loops.suites import SIZES, named

# Nests of a computation that follow each other: its reference is compiled once.
EACH = 4
MOVES = 16
SAY_S = 60.0


def campaign(clock: Clock, seconds: float, seed: int, say: Callable[[str], None]) -> int:
    """Measures for so many seconds, and says a line a minute; how many nests it measured."""
    rng = random.Random(seed)
    began = said = time.perf_counter()
    count = 0
    while (now := time.perf_counter()) < began + seconds:
        computation = named(drawn(rng))
        for _ in range(EACH):
            if rng.random() < 0.7:
                nest = by_structure(computation, rng)
            else:
                nest = by_moves(computation, rng, rng.randint(1, MOVES))
            clock.measure(computation, nest)
            count += 1
        if now > said + SAY_S:
            said = now
            say(f"{count} nests in {now - began:.0f} s of {seconds:.0f} s")
    return count


def drawn(rng: random.Random) -> str:
    """The name of a computation: seven of twelve are matmuls of the suite's sizes."""
    kind = rng.choice([*7 * ["mm"], "mmt", "mtm", "bmm", "conv1d", "conv2d"])
    m, n, k = (rng.choice(SIZES) for _ in range(3))
    if kind == "bmm":
        return f"bmm{rng.randint(2, 6)}_{m // 2}_{16 * rng.randint(1, 6)}_{k // 2}"
    if kind == "conv1d":
        f, c = rng.choice((8, 16, 32)), rng.choice((8, 16, 32))
        return f"conv1d{f}_{n}_{c}_{rng.choice((3, 5, 7))}"
    if kind == "conv2d":
        y, x = rng.choice((8, 16, 28)), rng.choice((16, 32, 56))
        return f"conv2d{rng.choice((8, 16, 32))}_{y}_{x}_{rng.choice((4, 8, 16))}_3_3"
    return f"{kind}{m}_{n}_{k}"


def commit() -> str:
    """The commit of the code, where it is a checkout of git.

    Raises:
      InputError: it is none.
    """
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    if done.returncode:
        raise InputError("git: not a checkout; constants are kept with the commit of the code")
    return done.stdout.strip()
