"""Compares solvers and trained agents on suites: scores, verdict of the judge, report.

    mallocgame evaluate --suite tpu_v4_sample --out results/sample
    mallocgame evaluate --suite tpu_v4_sample/NAME --checkpoint runs/NAME --out results/NAME
    mallocgame evaluate --suite tpu_v4 --mappers all --budget 10,60 --seeds 0,1 --out DIR
    mallocgame evaluate --compare results/ONE/results.json results/OTHER/results.json

For the mallocGame: `production` (the compiler's own mapping, replayed by the judge), `imitated`
(its choices with the game's places and copies), `all_fast`, `greedy`, `random`, `bound` (a proven
limit that no mapping passes); on demand `belady`, `msa` and `msa_library` (the compiler's way,
written anew), and for `--budget` seconds each `local_search`, `game_search` (inside the game),
`evolution` and `milp`.  Other games have their own, beside their reference solutions.

With a trained agent: `played` (it plays `--games` games, the best one counts), `untrained` (the
same with fresh parameters), `trained_best` (the best game of the training, where it was on this
instance), `agent` (the better of `played` and `trained_best`), `hybrid` (the better of `agent` and
the reference) and on demand `played_on` (it plays as many games again and again for `--budget`
seconds) and `polished` (half of that time, and then a search outside the game goes on from its best
game).  The agent is the checkpoint's.  Without `--checkpoint` these have to be named, and it is the
one that comes with the game.

An evaluation that was interrupted goes on where it stopped when the same command is given again. A
mapper that fails on an instance, or takes longer than its budget and `--grace`, costs that row,
which `--retry` runs again; the exit code is then 1, 2 for unusable input, 130 after Ctrl-C.
docs/report.md tells how to read the report.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gamekit.errors import InputError
from gamekit.processes import run_command
from gamekit.registry import DEFAULT, game_of, load_domain

if TYPE_CHECKING:
    from gamekit.domain import Domain
    from gamekit.evaluation.contest import Player

NAME = "mallocgame evaluate"


def main(arguments: Sequence[str] | None = None, program: str = NAME) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    return perform(parser.parse_args(arguments), program)


def perform(options: argparse.Namespace, program: str = NAME) -> int:
    """Runs the command; returns the exit code."""
    going_on = f"{program}: stopped; the same command goes on from here"
    return run_command(lambda: run(options, program), program, going_on)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--suite", nargs="+", help="committed suites, programs of theirs, files or folders"
    )
    parser.add_argument(
        "--game", help="its name, or MODULE:ATTRIBUTE; else the checkpoint's or the suite's"
    )
    parser.add_argument(
        "--checkpoint", help="a training run's folder (runs/NAME), or one of agent.ship"
    )
    parser.add_argument(
        "--mappers", "--solvers", dest="mappers", help="all, or comma-separated names (see above)"
    )
    parser.add_argument("--out", help="a folder for results; goes on with those of this command")
    parser.add_argument(
        "--games", type=int, default=32, help="games the agent plays of an instance"
    )
    parser.add_argument("--seeds", default="0", help="comma-separated; figures are means over them")
    parser.add_argument(
        "--budget", default="60", help="seconds for those that search; comma-separated"
    )
    parser.add_argument(
        "--grace", type=float, default=600.0, help="seconds a row may take beyond its budget"
    )
    parser.add_argument("--processes", type=int, default=1, help="instances evaluated at a time")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="run rows on a Dask scheduler's workers, tcp://HOST:8786; docs/cluster.md",
    )  # fmt: skip
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


def run(options: argparse.Namespace, program: str) -> int:
    """Evaluates or compares as told; `program` is the command's name, for the results.

    Raises:
      InputError: an option, an instance, a solution or the checkpoint cannot be used.
    """
    if options.compare:
        first, second = map(Path, options.compare)
        out = Path(options.out) if options.out else None
        load_domain(options.game or DEFAULT).compare(first, second, out)
        return 0
    for name in ("suite", "out"):
        if not getattr(options, name):
            raise InputError(f"--{name} is missing")
    for name in ("games", "processes"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(options, name)}")

    # Imported late, so that a bad option is reported at once.
    from gamekit.evaluation import plan
    from gamekit.evaluation.evaluation import Evaluation, evaluate

    given = _given_player(options) if options.checkpoint else None
    game = _game(options, given)
    domain = load_domain(game)
    player = given or _shipped_player(options, domain)
    solvers = plan.choose_solvers(domain, options.mappers, checkpoint=bool(player))
    budgets = plan.choose_budgets(options.budget)
    entries = plan.expand(domain, solvers, budgets, plan.choose_seeds(options.seeds))
    if not 0 < options.grace < float("inf"):
        raise InputError(f"--grace must be positive seconds, got {options.grace}")
    return evaluate(
        Evaluation(
            game=game,
            domain=domain,
            suite=" ".join(options.suite),
            names=options.suite,
            instances=plan.load_subjects(domain, options.suite),
            entries=entries,
            player=player,
            command=[*program.split(), *_command(options)],
            out=Path(options.out),
            grace_s=options.grace,
            processes=options.processes,
            retry=options.retry,
            overwrite=options.overwrite,
            pictures=options.pictures,
            scheduler=options.scheduler,
        )
    )


def _given_player(options: argparse.Namespace) -> Player:
    from agent.run.player import RunPlayer

    player = RunPlayer(Path(options.checkpoint), options.games)
    player.identity()
    return player


def _shipped_player(options: argparse.Namespace, domain: Domain) -> Player | None:
    """The agent that comes with the game, where `--mappers` names it."""
    from gamekit.evaluation.plan import names_agent

    name = names_agent(options.mappers)
    if name is None:
        return None
    from agent.run.player import shipped_player

    try:
        return shipped_player(domain, options.games)
    except InputError as error:
        option = f"--{domain.words.solver}s"
        raise InputError(f"{option} {name}: needs --checkpoint, as {error}") from None


def _game(options: argparse.Namespace, player: Player | None) -> str:
    """The game of the evaluation: as told, the checkpoint's, or the one that knows the suite."""
    if player is None:
        return options.game or game_of(options.suite)
    trained_on = player.game()
    if options.game not in (None, trained_on):
        raise InputError(f"--game must be the checkpoint's, {trained_on}, got {options.game}")
    return trained_on


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
