"""Checkpoints of a run: the whole training state, written atomically by orbax.

A checkpoint has two parts: `agent`, what playing needs, and `run`, what going on needs (optimiser,
replay, games in progress, keys). Arrays are stored under their path in the state.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import struct
from orbax.checkpoint import v1 as ocp

from agent.config import Config, load_config
from agent.learning.learner import FIRST_ADVANTAGE, TrainState, first_units
from agent.networks import networks
from agent.networks.units import Units
from gamekit.errors import InputError
from mallocgame.game.options import GAME_VERSION

T = TypeVar("T")
Checkpointer: Any = ocp.training.Checkpointer
KEPT = 2
VERSION_KEY = "game_version"
# Names of arrays change with the networks that a config asks for, and when this code changes.
OTHER = "it was made by another config or version of this code"
SHARE = ".units.share"
# What makes up the agent, as far as playing is concerned.
AGENT_PARTS = (".params", ".typical_advantage", ".units")


@struct.dataclass
class Agent:
    """What `agent.play` needs; see `learner.TrainState`."""

    params: networks.Params
    typical_advantage: jax.Array
    units: Units


@dataclasses.dataclass(frozen=True)
class Counters:
    """What the host counts: moves and finished games since the start, training time in seconds,
    and the fingerprints of the programs that are trained on."""

    moves: int = 0
    games: int = 0
    wall_s: float = 0.0
    programs: tuple[str, ...] = ()


class Checkpoints:
    """The checkpoints of one run, the last two of which are kept."""

    def __init__(self, directory: Path):
        logging.getLogger("absl").setLevel(logging.ERROR)  # orbax reports every step it takes
        self._directory = directory.absolute()
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
        agent, run = _split(_flatten(state))
        self._checkpointer.save_checkpointables(
            step,
            {"agent": agent, "run": run},
            custom_metadata=dataclasses.asdict(counters)
            | {"programs": list(counters.programs), VERSION_KEY: GAME_VERSION},
        )

    def restore(self, step: int, abstract: TrainState) -> tuple[TrainState, Counters]:
        """Reads a checkpoint into the shapes and shardings of `abstract`.

        Raises:
          InputError: the checkpoint is damaged, holds other arrays, or is of another version of
            the game.
        """
        metadata = _metadata(self._checkpointer, self._directory, step)
        agent, run = _split(_flatten(abstract))
        loaded = _load(self._checkpointer, self._directory, step, {"agent": agent, "run": run})
        try:
            metadata["programs"] = tuple(metadata["programs"])
            counters = Counters(**metadata)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self._directory / str(step)}: damaged: {_line(error)}") from None
        return _unflatten(abstract, loaded["agent"] | loaded["run"]), counters

    def close(self) -> None:
        """Waits for deletions in the background."""
        self._checkpointer.close()


def load_agent(run: str | Path, observation_size: int) -> tuple[Agent, Config]:
    """Reads the newest agent of a run's folder, for games with `observation_size` features.

    Raises:
      InputError: there is none, its networks have other shapes, or it has learned another version
        of the game.
    """
    run = Path(run)
    if not (run / "config.yaml").is_file():
        raise InputError(f"{run}: no training run (it has no config.yaml)")
    config = load_config(run / "config.yaml")
    directory = run / "checkpoints"
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder")
    with Checkpointer(directory.absolute()) as checkpointer:
        if checkpointer.latest is None:
            raise InputError(f"{directory}: no finished checkpoint")
        step = int(checkpointer.latest.step)
        _metadata(checkpointer, directory, step)
        programs = _number_of_programs(checkpointer, directory, step)
        abstract = jax.eval_shape(lambda: fresh_agent(config, observation_size, programs))
        names = _flatten(abstract)
        stored = _load(checkpointer, directory, step, {"agent": names}, partial=True)["agent"]
    return _unflatten(abstract, stored), config


def _metadata(checkpointer: Any, directory: Path, step: int) -> dict[str, Any]:
    """What was stored beside the arrays, if they belong to this version of the game."""
    source = directory / str(step)
    try:
        metadata = dict(checkpointer.metadata(step).custom_metadata or {})
    except Exception as error:  # whatever a damaged file makes the libraries raise
        raise InputError(f"{source}: damaged: {_line(error)}") from None
    found = metadata.pop(VERSION_KEY, None)
    if found != GAME_VERSION:
        which = "an older game" if found is None else f"version {found} of the game"
        raise InputError(
            f"{source}: was trained on {which}, this is version {GAME_VERSION}; train anew"
        )
    return metadata


def _number_of_programs(checkpointer: Any, directory: Path, step: int) -> int:
    try:
        return int(checkpointer.checkpointables_metadata(step).metadata["agent"][SHARE].shape[0])
    except Exception as error:  # whatever a damaged file makes the libraries raise
        raise InputError(f"{directory / str(step)}: damaged: {_line(error)}") from None


def fresh_agent(config: Config, observation_size: int, programs: int = 1) -> Agent:
    """An untrained agent, from the run's seed."""
    key = jax.random.key_data(jax.random.key(config.seed))
    params = networks.init_params(config.network, observation_size, key)
    return Agent(params, jnp.float32(FIRST_ADVANTAGE), first_units(programs))


def _load(
    checkpointer: Any, directory: Path, step: int, parts: dict[str, dict], partial: bool = False
) -> dict[str, dict]:
    source = directory / str(step)
    try:
        stored = checkpointer.checkpointables_metadata(step).metadata
        for part, wanted in parts.items():
            found = stored[part]
            for name, leaf in wanted.items():
                if name not in found:
                    raise InputError(f"{source}: has no {name}; {OTHER}")
                if tuple(found[name].shape) != leaf.shape or found[name].dtype != leaf.dtype:
                    raise InputError(
                        f"{source}: {name} is {found[name].dtype}{list(found[name].shape)}, "
                        f"expected {leaf.dtype}{list(leaf.shape)}; {OTHER}"
                    )
            if partial:
                # Orbax wants every array named; the others are read and dropped.
                parts = {part: {n: _here(wanted.get(n, leaf)) for n, leaf in found.items()}}
            elif extra := sorted(set(found) - set(wanted)):
                raise InputError(f"{source}: has {extra[0]} too; {OTHER}")
        return checkpointer.load_checkpointables(step, parts)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes the libraries raise
        raise InputError(f"{source}: damaged: {_line(error)}") from None


def _here(leaf: Any) -> jax.ShapeDtypeStruct:
    """An abstract array on this process's first device, wherever the checkpoint was made."""
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(tuple(leaf.shape), leaf.dtype, sharding=sharding)


def _line(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 200 else text[:197] + "..."


def _flatten(tree: Any) -> dict[str, Any]:
    """Arrays by path; without empty ones, which orbax does not store."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves if leaf.size}


def _unflatten(like: T, leaves: dict[str, Any]) -> T:
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    arrays = [
        leaves[jax.tree_util.keystr(path)]
        if leaf.size
        else jnp.zeros(leaf.shape, leaf.dtype, device=leaf.sharding)
        for path, leaf in paths
    ]
    return jax.tree.unflatten(structure, arrays)


def _split(leaves: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    agent = {name: leaf for name, leaf in leaves.items() if name.startswith(AGENT_PARTS)}
    return agent, {name: leaf for name, leaf in leaves.items() if name not in agent}
