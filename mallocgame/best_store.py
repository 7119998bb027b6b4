"""The best mapping of each program that was ever found, in a folder."""

from __future__ import annotations

import fcntl
import warnings
from pathlib import Path

from gamekit.errors import InputError
from mallocgame.judge import simulate, verify
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping, load_mapping, save_mapping


class BestStore:
    """`PROGRAM.mapping.json` files, each verified by the judge and never replaced by a worse one.

    Several runs and plays may offer mappings to one folder at the same time.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def path(self, program: Program) -> Path:
        """Where the program's best mapping is, if there is one."""
        return self._folder / f"{program.name}.mapping.json"

    def latency_s(self, program: Program) -> float | None:
        """The latency of the best mapping; None without one, or with one that is unusable."""
        path = self.path(program)
        try:
            kept = load_mapping(path, program) if path.exists() else None
        except InputError:
            return None
        return simulate(program, kept).latency_s if kept and not verify(program, kept) else None

    def offer(self, program: Program, mapping: Mapping) -> bool:
        """Keeps the mapping if the judge accepts it and it is faster than the one that is kept.

        Returns whether it is kept; warns if the judge rejects it.
        """
        if violations := verify(program, mapping):
            warnings.warn(
                f"{program.name}: the judge rejects a mapping: {violations[0].message}",
                stacklevel=2,
            )
            return False
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = self.latency_s(program)
            if kept is not None and kept <= simulate(program, mapping).latency_s:
                return False
            save_mapping(mapping, self.path(program))
            return True
