"""The compiles of one program in a dump folder; each is made once and then reused."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gamekit.errors import InputError
from gamekit.text import say
from mallocgame.xla.compile.compiler import DEFAULT_TIMEOUT_S, Lowered, compile_to, versions
from mallocgame.xla.read.chips import KIB, Chip, Options

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Workfolder:
    """A program's dump folder, and what its compiles have in common.

    trip_count: executions of loops that do not say how often they run; None to assume it.
    """

    folder: Path
    lowered: Lowered
    chip: Chip
    progress: Progress = say
    timeout_s: float = DEFAULT_TIMEOUT_S
    trip_count: int | None = None

    def compile_off(self) -> None:
        """Compiles with everything in slow memory."""
        self._compile("", "without assignment", self.chip.assignment_off, (), "off")

    def compile_full(self) -> None:
        """Compiles with assignment and the chip's largest capacity."""
        flags = self.chip.capacity_flags(self.chip.largest_bytes)
        self._compile("", "with assignment", {}, flags, "on")

    def compile_capacity(self, capacity_bytes: int) -> None:
        """Compiles with assignment and less fast memory."""
        kib = capacity_bytes // KIB
        options, flags = (
            self.chip.capacity_options(capacity_bytes),
            self.chip.capacity_flags(capacity_bytes),
        )
        self._compile(f"capacity_{kib}_kib", f"with {kib // KIB} MiB", options, flags, "on")

    def compile_probe(self, name: str, options: Options, capacity_bytes: int) -> None:
        """Compiles with other decisions than production's, for the latency fit.

        A compile may fail under such options; the fit then does without this probe.
        """
        options = {**options, **self.chip.capacity_options(capacity_bytes)}
        flags = self.chip.capacity_flags(capacity_bytes)
        refused = self.folder / f"refused_{name}.key.json"
        wanted = self._key(options, flags)
        if refused.exists() and json.loads(refused.read_text()) == wanted:
            return
        try:
            self._compile(f"probe_{name}", f"probe {name}", options, flags, "on")
        except InputError as error:
            self.progress(f"{self.folder.name}: probe {name} left out: {error}")
            if "took longer" not in str(error):
                refused.write_text(json.dumps(wanted, indent=1))

    def write_provenance(self) -> None:
        """Writes how the dump was made, without anything that differs between runs."""
        made: dict[str, Any] = {
            "source": self.lowered.source,
            "chip": self.chip.name,
            "versions": versions(),
            "options": dict(sorted(self.chip.closed.items())),
            "stablehlo_sha256": self._hash(),
        }
        if self.trip_count is not None:
            made["trip_count"] = self.trip_count
        path = self.folder / "provenance.json"
        path.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")

    def _hash(self) -> str:
        return hashlib.sha256(self.lowered.stablehlo.read_bytes()).hexdigest()

    def _compile(
        self, place: str, what: str, options: Options, flags: tuple[str, ...], kind: str
    ) -> None:
        """Compiles into a sub-folder, unless the same compile is already there."""
        out = self.folder / place if place else self.folder
        wanted = self._key(options, flags)
        key = out / f"{kind}.key.json"
        if key.exists() and json.loads(key.read_text()) == wanted:
            return
        started = time.monotonic()
        compile_to(
            self.lowered.stablehlo,
            self.chip,
            {**self.chip.closed, **options},
            flags,
            out,
            self.timeout_s,
        )
        key.write_text(json.dumps(wanted, indent=1))
        self.progress(f"{self.folder.name}: {what}: {time.monotonic() - started:.0f} s")

    def _key(self, options: Options, flags: tuple[str, ...]) -> dict[str, Any]:
        """Everything that the bytes of a compile depend on."""
        return {
            "stablehlo": self._hash(),
            "chip": self.chip.name,
            "options": {**self.chip.closed, **options},
            **({"flags": list(flags)} if flags else {}),
            "versions": versions(),
        }
