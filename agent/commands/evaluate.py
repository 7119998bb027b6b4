"""Compares solvers and trained agents on suites: scores, verdict of the judge, report.

    mallocgame evaluate --suite tpu_v4_sample --out results/sample
    mallocgame evaluate --suite tpu_v4_sample/NAME --checkpoint runs/NAME --out results/NAME
    mallocgame evaluate --suite tpu_v4 --mappers all --budget 10,60 --seeds 0,1 --out DIR
    mallocgame evaluate --suite tpu_v4_sample handmade --checkpoint runs/fences --out DIR
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
seconds) and `polished` (a fifth of that time, and then a search outside the game goes on from its
best game).  The agent is the checkpoint's.  Without `--checkpoint` these have to be named, and it
is the one that comes with the game.

Where `--suite` names instances of several games, each game's results are in a folder of its own in
`--out`, and `report.html` has the tables of all. `--checkpoint` then takes an agent a game, and
`--mappers` the names that any of the games has.

An evaluation that was interrupted goes on where it stopped when the same command is given again. A
mapper that fails on an instance, or takes longer than its budget and `--grace`, costs that row,
which `--retry` runs again; the exit code is then 1, 2 for unusable input, 130 after Ctrl-C.
docs/report.md tells how to read the report.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gamekit.errors import InputError
from gamekit.processes import run_command
from gamekit.registry import DEFAULT, games_of, installed_name, known_games, load_domain

if TYPE_CHECKING:
    from gamekit.domain import Domain
    from gamekit.evaluation.contest import Player
    from gamekit.evaluation.evaluation import Evaluation

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
        "--checkpoint", nargs="+", metavar="FOLDER",
        help="a training run (runs/NAME), or one of agent.ship; of several games one each",
    )  # fmt: skip
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

    if not 0 < options.grace < float("inf"):
        raise InputError(f"--grace must be positive seconds, got {options.grace}")

    # Imported late, so that a bad option is reported at once.
    from gamekit.evaluation.evaluation import evaluate
    from gamekit.evaluation.several import evaluate_several

    players = _given_players(options)
    games = _games(options, players)
    out = Path(options.out)
    is_part = len(games) > 1
    mappers = _mappers_of(options.mappers, list(games)) if is_part else {}
    evaluations = [
        dataclasses.replace(
            _evaluation(
                options, program, game, names, players.get(game),
                mappers.get(game, options.mappers),
            ),
            out=out / game if is_part else out,
            is_part=is_part,
        )
        for game, names in games.items()
    ]  # fmt: skip
    return evaluate_several(evaluations, out) if is_part else evaluate(evaluations[0])


def _evaluation(
    options: argparse.Namespace,
    program: str,
    game: str,
    names: list[str],
    player: Player | None,
    mappers: str | None,
) -> Evaluation:
    """The evaluation of one game, as told, by the mappers of a comma-separated list."""
    from gamekit.evaluation import plan
    from gamekit.evaluation.evaluation import Evaluation

    domain = load_domain(game)
    player = player or _shipped_player(options, domain, mappers)
    solvers = plan.choose_solvers(domain, mappers, checkpoint=bool(player))
    budgets = plan.choose_budgets(options.budget)
    return Evaluation(
        game=game,
        domain=domain,
        suite=" ".join(names),
        names=names,
        instances=plan.load_subjects(domain, names),
        entries=plan.expand(domain, solvers, budgets, plan.choose_seeds(options.seeds)),
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


def _given_players(options: argparse.Namespace) -> dict[str, Player]:
    """The agents of `--checkpoint`, by their games."""
    found: dict[str, Player] = {}
    for folder in options.checkpoint or ():
        from agent.run.player import RunPlayer

        player = RunPlayer(Path(folder), options.games)
        player.identity()
        game = installed_name(player.game())
        if game in found:
            raise InputError(f"--checkpoint {folder}: is the second one of the game {game!r}")
        found[game] = player
    return found


def _games(options: argparse.Namespace, players: Mapping[str, Player]) -> dict[str, list[str]]:
    """Names of instances by their games: the one told, the checkpoint's, or those that know them.

    Raises:
      InputError: a checkpoint is of another game.
    """
    told = installed_name(options.game) if options.game else None
    for game in players:
        if told not in (None, game):
            raise InputError(f"--game must be the checkpoint's, {game}, got {options.game}")
    if told:
        return {told: options.suite}
    first = next(iter(players), DEFAULT)
    if first not in known_games():
        return {first: options.suite}
    games = games_of(options.suite, first)
    for game in players:
        if game not in games:
            raise InputError(f"--suite: names nothing of {game!r}, which is a checkpoint's game")
    return games


def _mappers_of(names: str | None, games: Sequence[str]) -> dict[str, str | None]:
    """Of a comma-separated list those that each game knows.

    Raises:
      InputError: a name is unknown to all, or a game knows none.
    """
    from gamekit.evaluation.plan import contestants, listed

    if names in (None, "all"):
        return dict.fromkeys(games, names)
    chosen = listed(names)
    known = {game: contestants(load_domain(game)) for game in games}
    for name in chosen:
        if not any(name in those for those in known.values()):
            raise InputError(f"--mappers {name!r}: is known to none of {', '.join(games)}")
    found = {game: [name for name in chosen if name in known[game]] for game in games}
    for game, those in found.items():
        if not those:
            raise InputError(
                f"--mappers {names}: the game {game!r} has none of them; it has "
                f"{', '.join(known[game])}"
            )
    return {game: ",".join(those) for game, those in found.items()}


def _shipped_player(
    options: argparse.Namespace, domain: Domain, mappers: str | None
) -> Player | None:
    """The agent that comes with the game, where `--mappers` names it."""
    from gamekit.evaluation.plan import names_agent

    name = names_agent(mappers)
    if name is None:
        return None
    from agent.run.player import shipped_player

    try:
        return shipped_player(domain, options.games)
    except InputError as error:
        option = f"--{domain.words.solver}s"
        raise InputError(f"{option} {name}: needs --checkpoint, as {error}") from None


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
