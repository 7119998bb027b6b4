"""What an evaluation shows: one line that moves on a terminal, plain lines otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from gamekit.domain import Domain
from gamekit.evaluation.plan import Job
from gamekit.evaluation.rows import ABSENT, Row
from gamekit.status import StatusLine
from gamekit.text import cell, say, shown


class RowProgress(StatusLine):
    """Shows rows on stderr as they finish, with the time left; use as a context manager."""

    def __init__(self, domain: Domain, jobs: Sequence[Job], total: int, processes: int):
        super().__init__()
        self._waiting = {job.key: job for job in jobs}
        self._domain = domain
        self._total, self._processes = total, processes
        self._seconds: dict[str, list[float]] = {}

    def show(self, row: Row) -> None:
        """Takes a finished row."""
        job = self._waiting.pop(row.key)
        self._seconds.setdefault(job.entry.label, []).append(row.seconds)
        if row.is_done and row.score is not None:
            score = f"{self._domain.show(row.score)} {self._domain.words.score}"
            what = f"{score} in {row.seconds:.1f} s"
            what += "" if row.valid else ", rejected by the judge"
        else:
            what = "does not apply" if row.status == ABSENT else row.status
            what += f": {row.reason}" if row.reason else ""
        number = self._total - len(self._waiting)
        text = f"{number}/{self._total}  {shown(row.instance)}: {row.solver}: {what}"
        text += f"  {self._left()}" if self._waiting else ""
        if self._live:
            if not row.is_done and row.status != ABSENT:
                self._live.console.print(cell(text))  # stays above the moving line
            self._live.update(Text(shown(text, None), no_wrap=True, overflow="ellipsis"))
        else:
            say(text, error=True)

    def _left(self) -> str:
        """Time left: rows to come take what the same solver took so far, or its budget."""
        known = [s for row in self._seconds.values() for s in row]
        usual = sum(known) / max(len(known), 1)
        left = 0.0
        for job in self._waiting.values():
            row = self._seconds.get(job.entry.label)
            left += sum(row) / len(row) if row else (job.entry.budget_s or usual)
        left /= self._processes
        return f"{left:.0f} s left" if left < 100 else f"{left / 60:.0f} min left"
