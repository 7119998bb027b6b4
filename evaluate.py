"""Compares mappers on suites: latency, saved fraction, verdict of the judge, report.

    python evaluate.py --suite tpu_v4_sample --out results/sample
    python evaluate.py --suite tpu_v4_sample/NAME --checkpoint runs/NAME --out results/NAME
    python evaluate.py --suite tpu_v4 --mappers all --budget 10,60 --seeds 0,1 --processes 4 --out D
    python evaluate.py --compare results/ONE/results.json results/OTHER/results.json

Mappers: `production` (the compiler's own mapping, replayed by the judge), `imitated` (its choices
with the game's places and copies), `all_fast`, `greedy`, `random`, `bound` (a proven limit that no
mapping passes); on demand `belady`, `msa` and `msa_library` (the compiler's algorithm, written
anew), and for `--budget` seconds each `local_search`, `game_search` (inside the game),
`evolution` and `milp`; with a checkpoint `played` (the trained agent plays `--games` games, the
best one counts), `untrained` (the same with fresh parameters), `trained_best` (the best game of the
training, where it was on this program), `agent` (the better of `played` and `trained_best`: what
training and playing came to), `hybrid` (the better of `agent` and `production`) and on demand
`played_on` (it plays as many games again and again for `--budget` seconds).

An evaluation that was interrupted goes on where it stopped when the same command is given again. A
mapper that fails on a program, or takes longer than its budget and `--grace`, costs that row, which
`--retry` runs again; the exit code is then 1, 2 for unusable input, 130 after Ctrl-C.
docs/report.md tells how to read the report.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamekit.errors import InputError
from mallocgame.evaluation.plan import MAPPERS

if TYPE_CHECKING:
    from mallocgame.evaluation.bench import Outcome
    from mallocgame.evaluation.plan import Entry
    from mallocgame.game.environment import Game
    from mallocgame.game.options import GameConfig
    from mallocgame.program import Program


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    try:
        return run(_parser().parse_args(arguments))
    except InputError as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("evaluate.py: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Compares mappers on suites and writes results, mappings and a report."
    )
    parser.add_argument(
        "--suite", nargs="+", help="committed suites, programs of theirs, files or folders"
    )
    parser.add_argument("--checkpoint", help="a training run's folder (runs/NAME)")
    parser.add_argument("--mappers", help=f"all, or comma-separated of {', '.join(MAPPERS)}")
    parser.add_argument("--out", help="a folder for results; goes on with those of this command")
    parser.add_argument("--games", type=int, default=32, help="games the agent plays a program")
    parser.add_argument("--seeds", default="0", help="comma-separated; figures are means over them")
    parser.add_argument(
        "--budget", default="60", help="seconds a program for mappers that search; comma-separated"
    )
    parser.add_argument(
        "--grace", type=float, default=600.0, help="seconds a row may take beyond its budget"
    )
    parser.add_argument("--processes", type=int, default=1, help="programs evaluated at a time")
    there = parser.add_mutually_exclusive_group()
    there.add_argument(
        "--retry", action="store_true", help="run what failed, died or timed out in --out again"
    )
    there.add_argument("--overwrite", action="store_true", help="replace the results in --out")
    parser.add_argument(
        "--no-pictures", dest="pictures", action="store_false", help="tables only, quickly"
    )
    parser.add_argument(
        "--compare", nargs=2, metavar="RESULTS", help="two results.json: what changed, no run"
    )
    return parser


def run(options: argparse.Namespace) -> int:
    """Evaluates or compares as told.

    Raises:
      InputError: an option, a program, a mapping or the checkpoint cannot be used.
    """
    if options.compare:
        from mallocgame.evaluation.compare import compare_files

        first, second = map(Path, options.compare)
        compare_files(first, second, Path(options.out) if options.out else None)
        return 0
    for name in ("suite", "out"):
        if not getattr(options, name):
            raise InputError(f"--{name}: is missing")
    for name in ("games", "processes"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)}: at least 1")

    # Imported late, so that a bad option is reported at once.
    from mallocgame.evaluation import plan
    from mallocgame.evaluation.bench import Bench
    from mallocgame.evaluation.evaluation import Evaluation, evaluate

    mappers = plan.choose_mappers(options.mappers, checkpoint=bool(options.checkpoint))
    budgets = plan.choose_budgets(options.budget)
    entries = plan.expand(mappers, budgets, plan.choose_seeds(options.seeds))
    if not 0 < options.grace < float("inf"):
        raise InputError(f"--grace {options.grace}: is no time in seconds")
    agent = Agent(Path(options.checkpoint), options.games) if options.checkpoint else None
    return evaluate(
        Evaluation(
            suite=" ".join(options.suite),
            subjects=plan.load_subjects(options.suite),
            entries=entries,
            bench=Bench(agent),
            player=agent.identity() if agent else {},
            run=agent.run if agent else None,
            command=["evaluate.py", *_command(options)],
            out=Path(options.out),
            grace_s=options.grace,
            processes=options.processes,
            retry=options.retry,
            overwrite=options.overwrite,
            pictures=options.pictures,
        )
    )


class Agent:
    """A training run's agent as a `mallocgame.evaluation.bench.Player`."""

    def __init__(self, run: Path, games: int):
        self.run, self._games = run, games

    def identity(self) -> dict[str, Any]:
        """What tells this agent from others.

        Raises:
          InputError: there is no run.
        """
        config = self.run / "config.yaml"
        if not config.is_file():
            raise InputError(f"{self.run}: no training run (it has no config.yaml)")
        steps = [p.name for p in (self.run / "checkpoints").glob("*") if p.name.isdigit()]
        return {
            "run": str(self.run),
            "config": hashlib.sha256(config.read_bytes()).hexdigest()[:16],
            "checkpoint": max(steps, key=int, default=None),
            "games": self._games,
        }

    def rules(self) -> GameConfig:
        """The game that the agent was trained on.

        Raises:
          InputError: the run, its configuration or its checkpoint cannot be used with this release.
        """
        return self._loaded[1].game

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any, int]:
        from agent.config import load_config
        from agent.run.checkpoint import load_agent
        from mallocgame.game.environment import build_game
        from mallocgame.program import Instruction, Program
        from mallocgame.program.machine import machine_by_name

        config = load_config(self.run / "config.yaml")
        shortest = Program("shortest", machine_by_name("tpu_v4"), (Instruction("i"),), (), ())
        features = build_game([shortest], config.game).observation_size
        return *load_agent(self.run, features), features

    def play(self, entry: Entry, game: Game, program: Program) -> Outcome | None:
        """Plays a program, or fetches the training's best game of it."""
        import time

        import jax

        from agent.run.checkpoint import fresh_agent
        from agent.run.play import play
        from mallocgame.evaluation.bench import Outcome
        from mallocgame.game.transcript import replay_game
        from mallocgame.program.mapping import load_mapping

        if entry.mapper == "trained_best":
            path = self.run / "best" / f"{program.name}.mapping.json"
            return Outcome(load_mapping(path, program), 0.0) if path.exists() else None
        agent, config, features = self._loaded
        if entry.mapper == "untrained":
            agent = fresh_agent(config, features)
        started = time.perf_counter()
        key = jax.random.key(entry.seed or 0)
        seconds = entry.budget_s or 0.0
        played = play(game, agent, config, 0, key, games=self._games, seconds=seconds)
        mapping, _ = replay_game(game, program, played.actions)
        seconds = time.perf_counter() - started
        return Outcome(mapping, seconds, len(played.actions), played.backups)


def _command(options: argparse.Namespace) -> list[str]:
    words = []
    for key, value in vars(options).items():
        if key == "pictures":
            words += [] if value else ["--no-pictures"]
        elif isinstance(value, bool):
            words += [f"--{key}"] if value else []
        elif value is not None:
            words += [f"--{key}", *(value if isinstance(value, list) else [str(value)])]
    return words


if __name__ == "__main__":
    sys.exit(main())
