"""The game of loop nests with everything around it, for `train.py` and `evaluate.py`."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamekit.domain import Domain, Instance, Made, Solved, Solver, Verdict, Words
from gamekit.errors import InputError
from games.loops.game.options import GAME_VERSION, LoopsConfig
from games.loops.judge.verdict import judge_record
from games.loops.program.nest import from_record, to_record

if TYPE_CHECKING:
    import numpy as np

    from games.loops.game.environment import Game


def _mapper(name: str, **facts: Any) -> Solver:
    """An opponent of `games.loops.mappers.registry` on the model, imported when it runs."""

    def run(instance: Instance, options: LoopsConfig, budget_s: float, seed: int) -> Solved:
        from games.loops.mappers.registry import run
        from games.loops.program.cost import seconds

        started = time.perf_counter()
        found = run(name, instance.content, seconds, budget_s, options.moves, seed)
        took = time.perf_counter() - started
        return Solved(to_record(found.nest), took, figures={"tried": found.tried})

    return Solver(run, **facts)


class LoopsDomain(Domain):
    """Instances are computations, solutions are nests as plain data.

    A score is log2 of the speed-up over the starting nest, by the cost model, as are the figures:
    no kernel is run here. `python -m games.loops tune` and benchmarks/loops.py bring in the clock.
    """

    name, version = "loops", GAME_VERSION
    options = LoopsConfig
    words = Words(instance="computation", solution="nest", score="speed-up")
    solvers: Mapping[str, Solver] = {
        "start": _mapper("start"),
        "greedy1": _mapper("greedy1", searches=True),
        "greedy2": _mapper("greedy2", searches=True),
        "beam2": _mapper("beam2", searches=True),
        "beam4": _mapper("beam4", searches=True),
        "random": _mapper("random", searches=True, seeded=True),
        "exhaustive": _mapper("exhaustive", searches=True, on_demand=True),
        "local_search": _mapper("local_search", searches=True, seeded=True),
    }
    blank_figures: Mapping[str, Any] = {"tried": 0, "gflops": None}

    def instances(self, names: Sequence[str]) -> list[Instance]:
        from games.loops.suites import find

        return [Instance(c.name, c.fingerprint, source, c) for source, c in find(names)]

    def knows(self, name: str) -> bool:
        from games.loops.suites import knows

        return knows(name)

    def build(self, instances: Sequence[Instance], options: LoopsConfig) -> Game:
        from games.loops.game.environment import build_game

        return build_game([instance.content for instance in instances], options)

    def solution(self, environment: Any, instance: Instance, index: int, moves: np.ndarray) -> Made:
        from games.loops.oracle.oracle import first, moved

        at = first(instance.content)
        for move in moves:
            after = moved(instance.content, at, int(move))
            assert after is not None, f"{instance.name}: move {move} is illegal"
            at = after
        return Made(to_record(at.nest))

    def load(self, path: Path, instance: Instance) -> Any:
        record = super().load(path, instance)
        from_record(record, instance.content, f"{path}: solution")
        return record

    def judge(self, instance: Instance, solution: Any) -> Verdict:
        try:
            judged = judge_record(instance.content, solution)
        except InputError as error:
            return Verdict(0.0, False, str(error))
        return Verdict(judged.score, figures={"gflops": judged.gflops})

    def show(self, score: float) -> str:
        return f"{math.exp2(score):.3f}x"


DOMAIN = LoopsDomain()
