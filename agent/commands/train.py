"""Trains a MuZero agent on a game; goes on where it stopped.

    mallocgame train --config FILE.yaml
    mallocgame train --config FILE.yaml name=second seed=1 train.minutes=10

Writes runs/NAME/: config.yaml, metrics.jsonl, tensorboard/, checkpoints/ and the best solutions in
best/.  Started again with the same configuration it goes on from its last checkpoint.
docs/agent.md describes configurations.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent.config import Config, load_config
from agent.run.errors import TrainingDiverged
from gamekit.domain import Domain, Instance, Made
from gamekit.processes import run_command
from gamekit.registry import load_domain
from gamekit.text import say, shown

if TYPE_CHECKING:
    from agent.run.journal import TrainedInstance


def main(arguments: Sequence[str] | None = None, program: str = "mallocgame train") -> int:
    """Returns the exit code: 0, 1 if the training diverged, 2 for unusable input, 130 after Ctrl-C,
    143 after SIGTERM."""
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    return perform(parser.parse_args(arguments))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--config", required=True, help="YAML file, see configs/")
    parser.add_argument("--runs", default="runs", help="folder of the runs (default: runs)")
    parser.add_argument(
        "--profile", action="store_true", help="trace three iterations into RUNS/NAME/profile"
    )
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")


def perform(options: argparse.Namespace) -> int:
    """Runs the command; the codes are those of `main`."""

    def trained() -> int:
        try:
            config = load_config(options.config, options.overrides)
            run(config, Path(options.runs), options.profile)
        except TrainingDiverged as error:
            say(f"error: {error}", error=True)
            return 1
        return 0

    going_on = "stopped; the same command goes on from the last checkpoint"
    return run_command(trained, "error", going_on)


def run(config: Config, runs: Path, profile: bool = False) -> None:
    """Trains on the configured instances; `profile` as in `agent.run.loop.train`."""
    # Imported here so that a bad configuration is reported at once.
    import jax
    import numpy as np

    from agent.learning.state import TrainState
    from agent.run.best_store import BestStore
    from agent.run.hosts import connect, is_first, make_mesh
    from agent.run.loop import train
    from agent.run.warm_start import all_lessons, start_from, taught

    domain, options = load_domain(config.game.name), config.game.options
    instances = _instances(config, domain)
    entries = _entries(domain, instances)
    connect(config.train)
    # A run that goes on, and the next run of the same shapes, compile nothing again.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str((runs / ".compiled").absolute()))
    mesh = make_mesh(config)
    game = domain.build(instances, options)
    folder = runs / config.name
    store = BestStore(domain, folder / "best")

    def write_best(index: int, moves: np.ndarray, score: float) -> Made:
        instance = instances[index]
        made = domain.solution(game, instance, index, moves)
        store.offer(instance, made, score)
        return made

    def prepare(state: TrainState) -> TrainState:
        if config.train.start_from:
            state = start_from(config, game.spec, state)
        if config.demonstrations:
            lessons = all_lessons(config, instances, folder / "demonstrations")
            state = taught(game, state, lessons)
        return state

    begins_with = prepare if config.train.start_from or config.demonstrations else None
    state = train(config, domain, game, folder, mesh, entries, write_best, profile, begins_with)
    if not is_first():
        return
    for instance, score in zip(instances, np.asarray(state.best.score), strict=True):
        say(f"{shown(instance.name)}: best game: {domain.show(score)} {domain.words.score}")
    say(f"{folder}: {int(state.iteration)} iterations")


def _instances(config: Config, domain: Domain) -> list[Instance]:
    """The configured instances, and variants."""
    instances, wanted = domain.instances(config.programs), config.variants
    if not wanted.count:
        return instances
    origins = domain.instances(wanted.of) if wanted.of else instances
    return [*instances, *domain.variants(origins, wanted.count, config.seed)]


def _entries(domain: Domain, instances: Sequence[Instance]) -> tuple[TrainedInstance, ...]:
    """The instances, with the scores of their reference solutions."""
    from agent.run.journal import TrainedInstance

    def reference(instance: Instance) -> float | None:
        if instance.reference is None:
            return None
        return domain.judge(instance, instance.reference).score

    return tuple(TrainedInstance(i.fingerprint, i.name, reference(i)) for i in instances)
