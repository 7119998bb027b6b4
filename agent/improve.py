"""Plays on for the best mappings of a run: `python -m agent.improve runs/NAME --seconds 60`.

The agent of the run's last checkpoint plays each of its programs for a while; what is better than
runs/NAME/best/PROGRAM.mapping.json, and verified, takes its place.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gamekit.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(
        prog="agent.improve", description="Plays on for the best mappings of a run."
    )
    parser.add_argument("run", help="a training run's folder")
    parser.add_argument("--programs", help="comma-separated; the run's own if not given")
    parser.add_argument("--seconds", type=float, default=60.0, help="of play a program")
    parser.add_argument("--games", type=int, default=32, help="games at once")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        improve(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def improve(options: argparse.Namespace) -> None:
    """Plays as told and prints a line a program.

    Raises:
      InputError: an option, a program or the checkpoint cannot be used.
    """
    if options.games < 1:
        raise InputError(f"--games {options.games}: at least 1")
    if not 0 <= options.seconds < float("inf"):
        raise InputError(f"--seconds {options.seconds}: is no time in seconds")
    # Imported here so that a bad option is reported at once.
    import jax

    from agent.config import load_config
    from agent.run.checkpoint import load_agent
    from agent.run.play import play
    from mallocgame.best_store import BestStore
    from mallocgame.game.environment import build_game
    from mallocgame.game.transcript import replay_game
    from mallocgame.suites import load_programs

    run = Path(options.run)
    if not (run / "config.yaml").is_file():
        raise InputError(f"{run}: no training run (it has no config.yaml)")
    config = load_config(run / "config.yaml")
    names = options.programs.split(",") if options.programs else config.programs
    store = BestStore(run / "best")
    for program in load_programs(names):
        game = build_game([program], config.game)
        agent, config = load_agent(run, game.observation_size)
        key = jax.random.key(options.seed)
        played = play(game, agent, config, 0, key, games=options.games, seconds=options.seconds)
        mapping, saved = replay_game(game, program, played.actions)
        kept = store.offer(program, mapping)
        print(
            f"{program.name}: {100 * saved:.2f} % in {played.rounds} rounds of {options.games} "
            f"games, {played.seconds:.0f} s{' (a new best mapping)' if kept else ''}"
        )


if __name__ == "__main__":
    sys.exit(main())
