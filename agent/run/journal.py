"""What a run writes down: metrics.jsonl, TensorBoard events, the progress line, best games."""

from __future__ import annotations

import contextlib
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
from agent.run.progress import TrainingProgress
from gamekit.domain import Domain, Made
from gamekit.errors import InputError
from gamekit.files import unwritable, write_bytes
from gamekit.jsonfile import read_lines
from gamekit.text import say, shown

# Called with an instance's number, its best moves and their score; returns what it made of them.
BestWriter = Callable[[int, np.ndarray, float], Made]
# Figures of the clock and of one process: a resumed run repeats all others exactly.
CLOCK_FIELDS = (
    "wall_s",
    "moves_per_s",
    "simulations_per_s",
    "updates_per_s",
    "play_share",
    "search_share",
    "left_s",
    "changed_share",
    "changed_lost",
)


@dataclasses.dataclass(frozen=True)
class TrainedInstance:
    """An instance that is trained on: its fingerprint, its name, and the score of its reference
    solution (None: there is none)."""

    fingerprint: str
    name: str = ""
    reference: float | None = None


class Journal:
    """Writes one run's folder; use as a context manager.

    Lines of metrics.jsonl after iteration `step`, which the run is about to repeat, are dropped.
    """

    def __init__(
        self,
        config: Config,
        domain: Domain,
        run: Path,
        step: int,
        entries: tuple[TrainedInstance, ...],
        write_best: BestWriter | None,
    ):
        self._metrics = run / "metrics.jsonl"
        truncate(self._metrics, step)
        self._domain, self._entries = domain, entries
        self._write_best = write_best
        self._written = np.full(len(entries), -np.inf)
        # What solutions lost by changes of their games' moves, each that was handed on.
        self._lost: list[float] = []
        self._metrics_file = open(self._metrics, "a")  # noqa: SIM115
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)
        self._progress = TrainingProgress(config, domain)

    @property
    def score_word(self) -> str:
        """What the game calls a score."""
        return self._domain.words.score

    def __enter__(self) -> Journal:
        self._progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.__exit__(*error)
        # Where something else has gone wrong, as on a full disk, that is what is said.
        with contextlib.suppress(OSError) if error[0] else contextlib.nullcontext():
            self._board.close()
            self._metrics_file.close()

    def write(self, line: dict[str, Any], returns: np.ndarray, best: np.ndarray) -> None:
        """Writes one iteration.

        line: figures by name, None where there is none.
        returns: [P], mean return of each instance's games that ended in this iteration, or NaN.
        best: [P], the score of each instance's best game, -inf without.
        """
        line = line | {f"best_vs_{self._domain.words.reference}": self._against_reference(best)}
        try:
            self._metrics_file.write(json.dumps(line) + "\n")
            self._metrics_file.flush()
            is_there = os.fstat(self._metrics_file.fileno()).st_nlink > 0
        except OSError as error:
            raise unwritable(self._metrics, error) from None
        if not is_there:
            raise InputError(f"{self._metrics}: was taken away while the run was writing to it")
        step = line["step"]
        for name, value in line.items():
            if name != "step" and value is not None:
                self._board.add_scalar(name, value, step)
        for number, entry in enumerate(self._entries):
            self._add(entry, "return", float(returns[number]), step)
            self._add(entry, "best", float(best[number]), step)
        self._progress.show(line)

    def _add(self, entry: TrainedInstance, what: str, score: float, step: int) -> None:
        """One instance's figure on the board."""
        if not (entry.name and math.isfinite(score)):
            return
        name = shown(entry.name)
        self._board.add_scalar(f"{what}/{name}", score, step)
        if entry.reference is not None:
            gain = self._domain.gain(score, entry.reference)
            reference = self._domain.words.reference
            self._board.add_scalar(f"{what}_vs_{reference}/{name}", gain, step)

    def _against_reference(self, best: np.ndarray) -> float | None:
        gains = [
            self._domain.gain(float(score), entry.reference)
            for score, entry in zip(best, self._entries, strict=True)
            if entry.reference is not None
        ]
        return float(np.mean(gains)) if gains and np.all(np.isfinite(gains)) else None

    def write_improved(
        self, score: np.ndarray, moves: Callable[[int], np.ndarray]
    ) -> dict[str, float | None]:
        """Hands on the best games that are better than what was handed on before.

        score: [P]; moves: a best game's moves by the instance's number.

        Returns figures of all that this process has handed on: the share whose moves had to be
        changed to make a solution, and the score that each lost by it on average.
        """
        if self._write_best is None:
            return {}
        for number in np.flatnonzero(score > self._written):
            played = float(score[number])
            made = self._write_best(int(number), moves(int(number)), played)
            self._written[number] = played
            self._lost.append(played - made.score_or(played) if made.backtracks else np.nan)
        changed = np.isfinite(self._lost)
        return {
            "changed_share": float(changed.mean()) if len(changed) else None,
            "changed_lost": float(np.nanmean(self._lost)) if changed.any() else None,
        }


def truncate(path: Path, step: int) -> None:
    """Drops the lines after `step`, and damaged ones.

    A line on stderr names each damaged one but the last of the file, which a killed process leaves.

    Raises:
      InputError: the file cannot be read or written.
    """
    if not path.exists():
        return
    kept, damaged, number = [], [], 0
    for number, (line, record) in enumerate(read_lines(path), start=1):
        found = None if record is None else record.get("step")
        if type(found) is not int:
            damaged.append(number)
        elif found <= step:
            kept.append(line + b"\n")
    write_bytes(path, b"".join(kept))
    for each in damaged:
        if each < number:
            say(f"{path}: line {each} is damaged and left out", error=True)
