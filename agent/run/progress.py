"""What a training run shows: one line that moves on a terminal, plain lines otherwise."""

from __future__ import annotations

import time
from typing import Any

from rich.text import Text

from agent.config import Config
from gamekit.domain import Domain
from gamekit.status import StatusLine
from gamekit.text import say

PLAIN_SECONDS = 10.0


class TrainingProgress(StatusLine):
    """Shows metrics on stderr; use as a context manager."""

    def __init__(self, config: Config, domain: Domain):
        super().__init__()
        self._domain = domain
        self._iterations = config.train.iterations
        self._shown = 0.0
        self._last = ""

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if self._last and not self._live:
            say(self._last, error=True)

    def show(self, line: dict[str, Any]) -> None:
        """Shows one line of metrics, at most every ten seconds where lines stay."""
        text = self._text(line)
        if self._live:
            self._live.update(Text(text, no_wrap=True))
        elif time.perf_counter() - self._shown >= PLAIN_SECONDS:
            self._shown = time.perf_counter()
            self._last = ""
            say(text, error=True)
        else:
            self._last = text

    def _text(self, line: dict[str, Any]) -> str:
        def show(name: str) -> str:
            value = line.get(name)
            return "-" if value is None else self._domain.show(value)

        word, share = self._domain.words.score, line["search_share"]
        searching = "search -" if share is None else f"search {100 * share:.0f} %"
        left = "-" if line["left_s"] is None else f"{line['left_s']:.0f}"
        return (
            f"{line['step']}/{self._iterations}  {line['wall_s']:.0f} s  {line['games']} games  "
            f"{word} {show('return_mean')} (best {show(f'best_{word}')})  "
            f"value error {show('value_error')}  {line['moves_per_s']:,.0f} moves/s  "
            f"{line['simulations_per_s']:,.0f} simulations/s  "
            f"{line['updates_per_s']:,.1f} updates/s  {searching}  {left} s left"
        )
