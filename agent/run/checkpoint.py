"""Checkpoints of a run: the whole training state, written atomically by orbax.

A checkpoint has two parts: `agent`, what playing needs, and `run`, what going on needs (optimiser,
replay, games in progress, keys).  Arrays are stored under their path in the state, and beside them
the game's specification, which the networks were made for.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from agent.config import Config, load_config
from agent.learning.state import TrainState
from agent.run.loaded import (
    Loaded,
    as_line,
    check_arrays,
    check_no_more,
    check_version,
    flatten,
    unflatten,
    untrained,
)
from gamekit.environment import Spec, spec_from_record, spec_record
from gamekit.errors import InputError
from gamekit.registry import load_domain

Checkpointer: Any = ocp.training.Checkpointer
KEPT = 2
SPEC_KEY = "spec"
# What makes up the agent, and the array of it that has one entry an instance.
AGENT_PARTS, BY_INSTANCE = (".params", ".scale", ".typical_advantage"), ".scale.baseline"


@dataclasses.dataclass(frozen=True)
class Counters:
    """What the host counts: moves and finished games since the start, training time in seconds,
    and the fingerprints of the instances that are trained on."""

    moves: int = 0
    games: int = 0
    wall_s: float = 0.0
    instances: tuple[str, ...] = ()


class Checkpoints:
    """The checkpoints of one run, the last two of which are kept."""

    def __init__(self, directory: Path, spec: Spec):
        logging.getLogger("absl").setLevel(logging.ERROR)  # orbax reports every step it takes
        self._directory, self._spec = directory.absolute(), spec
        self._checkpointer = Checkpointer(
            self._directory,
            preservation_policy=ocp.training.preservation_policies.LatestN(KEPT),
            cleanup_tmp_directories=True,
        )

    def latest(self) -> int | None:
        """The newest finished checkpoint's iteration."""
        newest = self._checkpointer.latest
        return None if newest is None else int(newest.step)

    def save(self, step: int, state: TrainState, counters: Counters) -> None:
        """Writes a checkpoint; it appears as a whole or not at all."""
        agent, run = _split(flatten(state))
        self._checkpointer.save_checkpointables(
            step,
            {"agent": agent, "run": run},
            custom_metadata=dataclasses.asdict(counters)
            | {"instances": list(counters.instances), SPEC_KEY: spec_record(self._spec)},
        )

    def restore(self, step: int, abstract: TrainState) -> tuple[TrainState, Counters]:
        """Reads a checkpoint into the shapes and shardings of `abstract`.

        Raises:
          InputError: the checkpoint is damaged, holds other arrays, or is of another version of
            the game.
        """
        source = self._directory / str(step)
        metadata, spec = _metadata(self._checkpointer, self._directory, step)
        check_version(spec, self._spec.name, self._spec.version, source)
        agent, run = _split(flatten(abstract))
        loaded = _load(self._checkpointer, self._directory, step, {"agent": agent, "run": run})
        counters = _counters(metadata, source)
        return unflatten(abstract, loaded["agent"] | loaded["run"]), counters

    def close(self) -> None:
        """Waits for deletions in the background."""
        self._checkpointer.close()


def load_agent(run: str | Path) -> Loaded:
    """Reads the newest agent of a run's folder.

    Raises:
      InputError: there is none, or it has learned another version of the game.
    """
    run = Path(run)
    config = load_run_config(run)
    directory = run / "checkpoints"
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder")
    domain = load_domain(config.game.name)
    with Checkpointer(directory.absolute()) as checkpointer:
        step = _newest(checkpointer, directory)
        _, spec = _metadata(checkpointer, directory, step)
        check_version(spec, domain.name, domain.version, directory / str(step))
        instances = _number_of_instances(checkpointer, directory, step)
        abstract = jax.eval_shape(lambda: untrained(config, spec, instances))
        names = flatten(abstract)
        stored = _load(checkpointer, directory, step, {"agent": names}, partial=True)["agent"]
    return Loaded(unflatten(abstract, stored), config, spec)


def load_counters(run: Path) -> tuple[int, Counters]:
    """The iteration of a run's newest checkpoint, and what was counted until then.

    Raises:
      InputError: there is none, or it is damaged.
    """
    directory = run / "checkpoints"
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder")
    with Checkpointer(directory.absolute()) as checkpointer:
        step = _newest(checkpointer, directory)
        metadata, _ = _metadata(checkpointer, directory, step)
    return step, _counters(metadata, directory / str(step))


def load_run_config(run: Path) -> Config:
    """The configuration of a run's folder.

    Raises:
      InputError: there is no run, or its configuration is unusable.
    """
    if not (run / "config.yaml").is_file():
        raise InputError(f"{run}: no training run (it has no config.yaml)")
    return load_config(run / "config.yaml")


def _newest(checkpointer: Any, directory: Path) -> int:
    if checkpointer.latest is None:
        raise InputError(f"{directory}: no finished checkpoint")
    return int(checkpointer.latest.step)


def _counters(metadata: dict[str, Any], source: Path) -> Counters:
    try:
        metadata["instances"] = tuple(metadata["instances"])
        return Counters(**metadata)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{source}: damaged: {as_line(error)}") from None


def _metadata(checkpointer: Any, directory: Path, step: int) -> tuple[dict[str, Any], Spec]:
    """What was stored beside the arrays, and the specification of the game."""
    source = directory / str(step)
    try:
        metadata = dict(checkpointer.metadata(step).custom_metadata or {})
    except Exception as error:  # whatever a damaged file makes the libraries raise
        raise InputError(f"{source}: damaged: {as_line(error)}") from None
    if SPEC_KEY not in metadata:
        raise InputError(f"{source}: was made by an older version of this code; train anew")
    try:
        return metadata, spec_from_record(metadata.pop(SPEC_KEY))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{source}: damaged: {as_line(error)}") from None


def _number_of_instances(checkpointer: Any, directory: Path, step: int) -> int:
    try:
        stored = checkpointer.checkpointables_metadata(step).metadata["agent"]
        return int(stored[BY_INSTANCE].shape[0])
    except Exception as error:  # whatever a damaged file makes the libraries raise
        raise InputError(f"{directory / str(step)}: damaged: {as_line(error)}") from None


def _load(
    checkpointer: Any, directory: Path, step: int, parts: dict[str, dict], partial: bool = False
) -> dict[str, dict]:
    source = directory / str(step)
    try:
        stored = checkpointer.checkpointables_metadata(step).metadata
        for part, wanted in parts.items():
            found = stored[part]
            check_arrays(wanted, found, source)
            if partial:
                # Orbax wants every array named; the others are read and dropped.
                parts = {part: {n: _here(wanted.get(n, leaf)) for n, leaf in found.items()}}
            else:
                check_no_more(wanted, found, source)
        return checkpointer.load_checkpointables(step, parts)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes the libraries raise
        raise InputError(f"{source}: damaged: {as_line(error)}") from None


def _here(leaf: Any) -> jax.ShapeDtypeStruct:
    """An abstract array on this process's first device, wherever the checkpoint was made."""
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(tuple(leaf.shape), leaf.dtype, sharding=sharding)


def _split(leaves: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    agent = {name: leaf for name, leaf in leaves.items() if name.startswith(AGENT_PARTS)}
    return agent, {name: leaf for name, leaf in leaves.items() if name not in agent}
