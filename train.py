"""Trains a MuZero agent on programs: `python train.py --config configs/X.yaml [key.sub=value ...]`.

Writes runs/NAME/: config.yaml, metrics.jsonl, tensorboard/, checkpoints/ and
best/PROGRAM.mapping.json. Started again with the same configuration it goes on from its last
checkpoint.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent.config import Config, load_config
from agent.run.errors import TrainingDiverged
from gamekit.errors import InputError

if TYPE_CHECKING:
    from agent.run.journal import Entry
    from mallocgame.program import Program


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, 1 if the training diverged, 2 for unusable input, 130 when
    interrupted."""
    parser = argparse.ArgumentParser(
        description="Trains a MuZero agent on programs; goes on where it stopped."
    )
    parser.add_argument("--config", required=True, help="YAML file, see configs/")
    parser.add_argument("--runs", default="runs", help="folder of the runs (default: runs)")
    parser.add_argument(
        "--profile", action="store_true", help="trace three iterations into RUNS/NAME/profile"
    )
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    options = parser.parse_args(arguments)
    try:
        run(load_config(options.config, options.overrides), Path(options.runs), options.profile)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except TrainingDiverged as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def run(config: Config, runs: Path, profile: bool = False) -> None:
    """Trains on the configured programs; `profile` as in `agent.run.loop.train`."""
    # Imported here so that a bad configuration is reported at once.
    import jax
    import numpy as np

    from agent.learning.learner import TrainState
    from agent.run.hosts import connect, is_first, make_mesh
    from agent.run.loop import train
    from agent.run.warm_start import start_from
    from mallocgame.best_store import BestStore
    from mallocgame.demonstrations import check_names, demonstrate, with_games
    from mallocgame.game.environment import build_game
    from mallocgame.game.transcript import replay_game
    from mallocgame.suites import find_programs, load_programs

    programs = load_programs(config.programs)
    check_names(config.demonstrations)
    entries = _entries(config, programs)
    connect(config.train)
    # A run that goes on, and the next run of the same shapes, compile nothing again.
    jax.config.update("jax_compilation_cache_dir", str((runs / ".compiled").absolute()))
    mesh = make_mesh(config)
    game = build_game(programs, config.game)
    folder = runs / config.name
    store = BestStore(folder / "best")

    def write_best(index: int, actions: np.ndarray, saved: float) -> None:
        del saved
        mapping, _ = replay_game(game, programs[index], actions, index)
        store.offer(programs[index], mapping)

    def prepare(state: TrainState) -> TrainState:
        if config.train.start_from:
            state = start_from(config, game.observation_size, state)
        if config.demonstrations:
            names, seconds = config.demonstrations, config.demonstration_seconds
            games = [
                demonstrate(program, path, config.game, names, seconds, config.seed)
                for path, program in zip(find_programs(config.programs), programs, strict=True)
            ]
            state = dataclasses.replace(state, best=with_games(state.best, games))
        return state

    begins_with = prepare if config.train.start_from or config.demonstrations else None
    state = train(config, game, folder, mesh, entries, write_best, profile, begins_with)
    if not is_first():
        return
    for program, saved in zip(programs, np.asarray(state.best.saved), strict=True):
        print(f"{program.name}: best game saves {100 * saved:.2f} %")
    print(f"{folder}: {int(state.iteration)} iterations")


def _entries(config: Config, programs: Sequence[Program]) -> tuple[Entry, ...]:
    """The programs, with what the production mappings beside their files save."""
    from agent.run.journal import Entry
    from mallocgame.judge import simulate
    from mallocgame.suites import find_programs, load_production

    entries = []
    for path, program in zip(find_programs(config.programs), programs, strict=True):
        mapping = load_production(path, program)
        saved = None if mapping is None else simulate(program, mapping).saved_fraction
        entries.append(Entry(program.fingerprint, program.name, saved))
    return tuple(entries)


if __name__ == "__main__":
    sys.exit(main())
