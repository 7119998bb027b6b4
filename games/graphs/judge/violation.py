"""What is wrong with a solution."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Violation:
    """A rule that a solution breaks.

    rule: its name in docs/graphs.md. subgraph: that breaks it, None for the whole solution.
    message: what is wrong and by how much.
    """

    rule: str
    subgraph: int | None
    message: str

    def __str__(self) -> str:
        where = "" if self.subgraph is None else f"subgraph {self.subgraph}: "
        return f"{where}{self.rule}: {self.message}"


class Broken(Exception):
    """A subgraph breaks a rule; caught by `evaluate`."""

    def __init__(self, rule: str, message: str):
        super().__init__(message)
        self.rule = rule
        self.message = message
