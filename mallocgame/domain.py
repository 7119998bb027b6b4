"""The mallocGame with everything around it, for `train.py` and `evaluate.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamekit.domain import Domain, Instance, Made, Solved, Solver, Verdict, Words
from gamekit.errors import InputError
from mallocgame.game.options import GAME_VERSION, GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.program.mapping import Mapping as MemoryMapping
from mallocgame.program.mapping import all_slow, load_mapping, save_mapping

if TYPE_CHECKING:
    import numpy as np

    from gamekit.evaluation.evaluation import Finished
    from gamekit.evaluation.rows import Row
    from mallocgame.game.environment import Game

PRODUCTION, BOUND = "production", "bound"


def _mapper(name: str, **facts: Any) -> Solver:
    """A mapper of `mallocgame.mappers.registry`, which is imported when it runs."""

    def run(instance: Instance, options: GameConfig, budget_s: float, seed: int) -> Solved:
        from mallocgame.mappers.registry import MAPPERS

        made = MAPPERS[name](instance.content, options, budget_s, seed)
        figures = {"bound_s": made.info.get("bound_s", 0.0)}
        return Solved(made.mapping, made.seconds, made.decisions, made.drop_backups, figures)

    return Solver(run, **facts)


def _imitated(instance: Instance, options: GameConfig, budget_s: float, seed: int) -> Solved | None:
    """Production's choices, with the game's copies and the packer's places."""
    if instance.reference is None:
        return None
    from mallocgame.mappers.in_game.imitate import imitate

    made = imitate(instance.content, options, instance.reference)
    return Solved(made.mapping, made.seconds, made.decisions, made.drop_backups)


def _bound(instance: Instance, options: GameConfig, budget_s: float, seed: int) -> Solved:
    """A proven limit: no mapping passes it."""
    import time

    started = time.perf_counter()
    from mallocgame.relaxation.bound import lower_bound

    bound_s = lower_bound(instance.content).latency_s
    return Solved(None, time.perf_counter() - started, figures={"bound_s": bound_s})


def _polish(
    instance: Instance, starts: Sequence[MemoryMapping], budget_s: float, seed: int
) -> Solved:
    """Local search, from these mappings too."""
    from mallocgame.mappers.layouts.local_search import local_search

    made = local_search(instance.content, GameConfig(), budget_s, seed, starts=starts)
    return Solved(made.mapping, made.seconds)


class MallocGame(Domain):
    """Instances are programs, solutions are mappings, production's are the reference.

    A score is the fraction of the all-slow latency that a mapping saves.
    """

    name = "mallocgame"
    version = GAME_VERSION
    options = GameConfig
    words = Words(
        instance="program",
        solver="mapper",
        solution="mapping",
        reference=PRODUCTION,
        score="saved",
        score_field="saved_fraction",
        valid_field="verified",
        why_field="violation",
        moves_field="decisions",
        backtracks_field="drop_backups",
    )
    solvers: Mapping[str, Solver] = {
        "imitated": Solver(_imitated),
        "all_fast": _mapper("all_fast"),
        "greedy": _mapper("greedy"),
        "random": _mapper("random", seeded=True),
        "belady": _mapper("belady", on_demand=True),
        "relaxed": _mapper("relaxed", on_demand=True),
        "msa": _mapper("msa", on_demand=True),
        "msa_library": _mapper("msa_library", on_demand=True),
        "local_search": _mapper("local_search", on_demand=True, searches=True, seeded=True),
        "game_search": _mapper("game_search", on_demand=True, searches=True, seeded=True),
        "evolution": _mapper(
            "evolution",
            on_demand=True,
            searches=True,
            seeded=True,
            package="evosax",
            extra="mappers",
        ),
        "milp": _mapper("milp", on_demand=True, searches=True, seeded=True),
        BOUND: Solver(_bound),
    }
    shipped = Path(__file__).with_name("checkpoint")
    polish = staticmethod(_polish)
    report_file = "report.html"
    # Copies that the game accounts for one by one share their supply under the judge.
    score_is_bound = True
    compared_figures = ("speedup_vs_production", "gap_to_bound_closed")
    blank_figures: Mapping[str, Any] = {
        "latency_s": None,
        "all_slow_latency_s": None,
        "floor_latency_s": None,
        "stall_fraction": None,
        "bound_s": 0.0,
    }

    def instances(self, names: Sequence[str]) -> list[Instance]:
        from mallocgame.program import load_program
        from mallocgame.suites import find_programs, load_production

        found: dict[str, Instance] = {}
        for path in find_programs(names):
            program = load_program(path)
            if program.name in found:
                raise InputError(f"{path}: name: {program.name!r} is there twice")
            production = load_production(path, program)
            found[program.name] = Instance(
                program.name, program.fingerprint, str(path), program, production
            )
        return list(found.values())

    def knows(self, name: str) -> bool:
        from mallocgame.suites import find_programs

        try:
            return bool(find_programs([name]))
        except InputError:
            return False

    def build(self, instances: Sequence[Instance], options: GameConfig) -> Game:
        from mallocgame.game.environment import build_game

        return build_game([instance.content for instance in instances], options)

    def solution(self, environment: Any, instance: Instance, index: int, moves: np.ndarray) -> Made:
        """The packed game's mapping; Drop-backup may change its moves."""
        from mallocgame.game.finish import finish_game

        made = finish_game(environment, instance.content, moves, index)
        return Made(made.mapping, made.saved_fraction if made.backups else None, made.backups)

    def save(self, solution: MemoryMapping, path: Path) -> None:
        save_mapping(solution, path)

    def load(self, path: Path, instance: Instance) -> MemoryMapping:
        return load_mapping(path, instance.content)

    def judge(self, instance: Instance, solution: MemoryMapping) -> Verdict:
        program = instance.content
        simulation = simulate(program, solution)
        violations = verify(program, solution)
        slow = simulation.all_slow_latency_s
        pairs = zip(program.weights, simulation.stall_s.tolist(), strict=True)
        figures = {
            "latency_s": simulation.latency_s,
            "all_slow_latency_s": slow,
            "floor_latency_s": simulation.floor_latency_s,
            "stall_fraction": sum(w * s for w, s in pairs) / slow if slow > 0 else 0.0,
        }
        why = violations[0].message if violations else None
        return Verdict(_saved(simulation.latency_s, slow), not violations, why, figures)

    def limit(self, instance: Instance, figures: Mapping[str, Any]) -> Verdict:
        simulation = simulate(instance.content, all_slow(instance.content))
        # What costs nothing in fast memory is a limit too.
        latency_s = max(figures["bound_s"], simulation.floor_latency_s)
        slow = simulation.all_slow_latency_s
        found = {
            "latency_s": latency_s,
            "all_slow_latency_s": slow,
            "floor_latency_s": simulation.floor_latency_s,
            "stall_fraction": 0.0,
            "bound_s": latency_s,
        }
        return Verdict(_saved(latency_s, slow), figures=found)

    def gain(self, score: float, reference: float) -> float:
        """How much faster a program runs than with production's mapping."""
        return (1 - reference) / (1 - score) - 1

    def show(self, score: float) -> str:
        return f"{100 * score:.2f} %"

    def lessons(
        self,
        instance: Instance,
        options: GameConfig,
        names: Sequence[str],
        seconds: float,
        seed: int,
    ) -> list[np.ndarray]:
        from mallocgame.mappers.in_game.imitate import lesson
        from mallocgame.mappers.registry import MAPPERS

        found = []
        for name in names:
            if name != PRODUCTION and name not in MAPPERS:
                known = ", ".join((PRODUCTION, *MAPPERS))
                raise InputError(f"demonstrations: must be of {known}, got {name!r}")
        for name in names:
            mapping = (
                instance.reference
                if name == PRODUCTION
                else MAPPERS[name](instance.content, options, seconds, seed).mapping
            )
            if mapping is not None:
                found.append(lesson(instance.content, options, mapping))
        return found

    def openings(self, environment: Game, instance: Instance) -> list[np.ndarray]:
        """The relaxation's optimum, rounded in several ways."""
        from mallocgame.mappers.in_game.imitate import relaxed_openings

        return relaxed_openings(instance.content, environment.config)

    def variants(self, instances: Sequence[Instance], count: int, seed: int) -> list[Instance]:
        from mallocgame.synthetic.variants import variants

        made = variants([instance.content for instance in instances], count, seed)
        return [
            Instance(program.name, program.fingerprint, f"variant {i} of seed {seed}", program)
            for i, program in enumerate(made)
        ]

    def compared(self, rows: Sequence[Row]) -> list[Row]:
        from mallocgame.evaluation.compared import compared

        return compared(rows)

    def facts(self, instances: Sequence[Instance]) -> dict[str, Any]:
        return {"machine": sorted({i.content.machine.name for i in instances})}

    def summary(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        from mallocgame.report.statistics import summarize

        return {"summary": summarize([dict(row) for row in rows])}

    def report(self, finished: Finished) -> None:
        from mallocgame.evaluation.report import report

        report(finished)

    def compare(self, first: Path, second: Path, out: Path | None) -> None:
        from mallocgame.evaluation.compare import compare_files

        compare_files(first, second, out)


def _saved(latency_s: float, all_slow_latency_s: float) -> float:
    return 1 - latency_s / all_slow_latency_s if all_slow_latency_s > 0 else 0.0


DOMAIN = MallocGame()
