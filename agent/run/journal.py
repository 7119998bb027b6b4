"""What a run writes down: metrics.jsonl, TensorBoard events, the progress line, best games."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter

from agent.config import Config
from agent.run.progress import Progress

# Called with a program's number, its best moves and the fraction they save.
BestWriter = Callable[[int, np.ndarray, float], None]
# Wall-clock figures: a resumed run repeats all others exactly.
CLOCK_FIELDS = (
    "wall_s",
    "moves_per_s",
    "simulations_per_s",
    "updates_per_s",
    "play_share",
    "search_share",
    "left_s",
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A program that is trained on: its fingerprint, its name, and the fraction of the latency
    that the production compiler's mapping saves (None: unknown)."""

    fingerprint: str
    name: str = ""
    production: float | None = None


class Journal:
    """Writes one run's folder; use as a context manager.

    Lines of metrics.jsonl after iteration `step`, which the run is about to repeat, are dropped.
    """

    def __init__(
        self,
        config: Config,
        run: Path,
        step: int,
        programs: tuple[Entry, ...],
        write_best: BestWriter | None,
    ):
        truncate(run / "metrics.jsonl", step)
        self._programs = programs
        self._write_best = write_best
        self._written = np.full(len(programs), -np.inf)
        self._metrics_file = open(run / "metrics.jsonl", "a")  # noqa: SIM115
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)
        self._progress = Progress(config)

    def __enter__(self) -> Journal:
        self._progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.__exit__(*error)
        self._board.close()
        self._metrics_file.close()

    def write(self, line: dict[str, Any], returns: np.ndarray, best: np.ndarray) -> None:
        """Writes one iteration.

        line: figures by name, None where there is none.
        returns: [P], mean return of each program's games that ended in this iteration, or NaN.
        best: [P], what each program's best game saves, -inf without.
        """
        line = line | {"best_vs_production": self._against_production(best)}
        self._metrics_file.write(json.dumps(line) + "\n")
        self._metrics_file.flush()
        step = line["step"]
        for name, value in line.items():
            if name != "step" and value is not None:
                self._board.add_scalar(name, value, step)
        for number, entry in enumerate(self._programs):
            self._program(entry, "return", float(returns[number]), step)
            self._program(entry, "best", float(best[number]), step)
        self._progress.show(line)

    def _program(self, entry: Entry, what: str, saved: float, step: int) -> None:
        if not (entry.name and math.isfinite(saved)):
            return
        self._board.add_scalar(f"{what}/{entry.name}", saved, step)
        if entry.production is not None:
            gain = speedup(saved, entry.production)
            self._board.add_scalar(f"{what}_vs_production/{entry.name}", gain, step)

    def _against_production(self, best: np.ndarray) -> float | None:
        gains = [
            speedup(float(saved), entry.production)
            for saved, entry in zip(best, self._programs, strict=True)
            if entry.production is not None
        ]
        return float(np.mean(gains)) if gains and np.all(np.isfinite(gains)) else None

    def write_improved(self, saved: np.ndarray, moves: Callable[[int], np.ndarray]) -> None:
        """Hands on the best games that are better than what was handed on before.

        saved: [P]; moves: a best game's moves by the program's number.
        """
        if self._write_best is None:
            return
        # A failed game (-1, only without Drop-backup) has no mapping.
        for program in np.flatnonzero((saved > self._written) & (saved > -1)):
            self._write_best(int(program), moves(int(program)), float(saved[program]))
            self._written[program] = saved[program]


def speedup(saved: float, production: float) -> float:
    """How much faster a program runs than with the production mapping, both as saved fractions."""
    return (1 - production) / (1 - saved) - 1


def truncate(path: Path, step: int) -> None:
    """Drops the lines after `step`, and torn ones."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] > step:
                break
        except (ValueError, KeyError, TypeError):
            break
        kept.append(line + "\n")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text("".join(kept))
    temporary.replace(path)
