"""Plays on for the best solutions of a run: `python -m agent.improve runs/NAME --seconds 60`.

The agent of the run's last checkpoint plays each of its instances for a while; what is better than
the solution in runs/NAME/best/, and verified, takes its place.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gamekit.errors import InputError
from gamekit.processes import run_command
from gamekit.text import say, shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(
        prog="agent.improve", description="Plays on for the best solutions of a run."
    )
    parser.add_argument("run", help="a training run's folder")
    parser.add_argument("--programs", help="comma-separated; the run's own if not given")
    parser.add_argument("--seconds", type=float, default=60.0, help="of play an instance")
    parser.add_argument("--games", type=int, default=32, help="games at once")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    return run_command(lambda: improve(options), "error", "stopped")


def improve(options: argparse.Namespace) -> int:
    """Plays as told and prints a line an instance; returns the exit code.

    Raises:
      InputError: an option, an instance or the checkpoint cannot be used.
    """
    if options.games < 1:
        raise InputError(f"--games must be at least 1, got {options.games}")
    if not 0 <= options.seconds < float("inf"):
        raise InputError(f"--seconds must be at least 0 and finite, got {options.seconds}")
    # Imported here so that a bad option is reported at once.
    import jax

    from agent.run.best_store import BestStore
    from agent.run.checkpoint import load_agent
    from agent.run.play import play
    from agent.run.player import judge_of
    from gamekit.compiled import forget_if_full
    from gamekit.registry import load_domain

    run = Path(options.run)
    agent, config, _ = load_agent(run)
    domain = load_domain(config.game.name)
    names = options.programs.split(",") if options.programs else config.programs
    store = BestStore(domain, run / "best")
    for instance in domain.instances(names):
        forget_if_full()
        game = domain.build([instance], config.game.options)
        key = jax.random.key(options.seed)
        played = play(
            game,
            agent,
            config,
            0,
            key,
            games=options.games,
            seconds=options.seconds,
            openings=domain.openings(game, instance),
            judge=judge_of(domain, game, instance),
        )
        made = domain.solution(game, instance, 0, played.moves)
        kept = store.offer(instance, made, played.score)
        word = f" (a new best {domain.words.solution})" if kept else ""
        say(
            f"{shown(instance.name)}: {domain.show(played.score)} in {played.rounds} rounds of "
            f"{options.games} games, {played.seconds:.0f} s{word}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
