"""Checkpoints of a run: the whole training state, written atomically by orbax.

A checkpoint has two parts: `agent`, what playing needs, and `run`, what going on needs (optimiser,
replay, games in progress, keys).  Arrays are stored under their path in the state, and beside them
the game's specification, which the networks were made for.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
from orbax.checkpoint import v1 as ocp

from agent.config import Config, load_config
from agent.learning.state import TrainState
from agent.run.errors import Damaged
from agent.run.hosts import is_first
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
from gamekit.files import unwritable
from gamekit.registry import load_domain
from gamekit.text import say

Checkpointer: Any = ocp.training.Checkpointer
KEPT = 2
T = TypeVar("T")
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
        self._directory, self._spec = directory.absolute(), spec
        self._checkpointer = _open(self._directory)

    def latest(self) -> int | None:
        """The newest finished checkpoint's iteration."""
        newest = self._checkpointer.latest
        return None if newest is None else int(newest.step)

    def save(self, step: int, state: TrainState, counters: Counters) -> None:
        """Writes a checkpoint; it appears as a whole or not at all.

        Raises:
          InputError: it cannot be written, as on a full disk.
        """
        agent, run = _split(flatten(state))
        metadata = dataclasses.asdict(counters)
        metadata |= {"instances": list(counters.instances), SPEC_KEY: spec_record(self._spec)}
        try:
            self._checkpointer.save_checkpointables(
                step, {"agent": agent, "run": run}, custom_metadata=metadata
            )
        except Exception as error:  # whatever a full disk makes the libraries raise
            raise InputError(
                f"{self._directory / str(step)}: cannot be written: {as_line(error)}"
            ) from error

    def restore_newest(self, abstract: TrainState) -> tuple[TrainState, Counters] | None:
        """Reads the newest checkpoint that is not damaged; None without any.

        A damaged one is said on stderr, and moved aside, as its iteration will come again.

        Raises:
          InputError: as `restore`; all are damaged.
        """
        steps = sorted((int(c.step) for c in self._checkpointer.checkpoints), reverse=True)
        damaged: list[Damaged] = []
        for step in steps:
            try:
                found = self.restore(step, abstract)
            except Damaged as error:
                damaged.append(error)
                continue
            for number, error in zip(steps, damaged, strict=False):
                _say_damaged(error, step)
                self._move_aside(number)
            return found
        if damaged:
            raise damaged[0]
        return None

    def _move_aside(self, step: int) -> None:
        if not is_first():
            return  # the folder is the first process's
        target = self._directory.with_name(f"damaged_checkpoint_{step}")
        number = 1
        while target.exists():
            number += 1
            target = self._directory.with_name(f"damaged_checkpoint_{step}_{number}")
        try:
            (self._directory / str(step)).rename(target)
        except OSError as error:
            raise unwritable(target, error) from None
        self._checkpointer.close()
        self._checkpointer = _open(self._directory)

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

    def read(checkpointer: Any, step: int) -> Loaded:
        _, spec = _metadata(checkpointer, directory, step)
        check_version(spec, domain.name, domain.version, directory / str(step))
        instances = _number_of_instances(checkpointer, directory, step)
        abstract = jax.eval_shape(lambda: untrained(config, spec, instances))
        names = flatten(abstract)
        stored = _load(checkpointer, directory, step, {"agent": names}, partial=True)["agent"]
        return Loaded(unflatten(abstract, stored), config, spec)

    return _newest_undamaged(directory, read)


def load_counters(run: Path) -> tuple[int, Counters]:
    """The iteration of a run's newest checkpoint, and what was counted until then.

    Raises:
      InputError: there is none, or it is damaged.
    """
    directory = run / "checkpoints"
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder")

    def read(checkpointer: Any, step: int) -> tuple[int, Counters]:
        metadata, _ = _metadata(checkpointer, directory, step)
        return step, _counters(metadata, directory / str(step))

    return _newest_undamaged(directory, read)


def load_run_config(run: Path) -> Config:
    """The configuration of a run's folder.

    Raises:
      InputError: there is no run, or its configuration is unusable.
    """
    if not (run / "config.yaml").is_file():
        raise InputError(f"{run}: no training run (it has no config.yaml)")
    return load_config(run / "config.yaml")


def _open(directory: Path) -> Any:
    """The checkpoints of a folder, to be written too."""
    return _opened(
        directory,
        preservation_policy=ocp.training.preservation_policies.LatestN(KEPT),
        cleanup_tmp_directories=True,
    )


def _opened(directory: Path, **options: Any) -> Any:
    # Orbax reports every step it takes, and a damaged file once more than we do.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    _say_nothing_of_late_reads()
    try:
        return Checkpointer(directory, **options)
    except OSError:
        raise
    except Exception as error:  # it reads the metadata of all the checkpoints there
        raise InputError(
            f"{directory}: the metadata of a checkpoint are damaged: {as_line(error)}"
        ) from None


@functools.cache
def _say_nothing_of_late_reads() -> None:
    """Keeps the trace off stderr that reads leave when they end after the one that failed.

    Orbax closes its event loop at the first array that cannot be read.  Threads of the store
    report the others to the closed loop, as late as the end of the process.
    """
    before = sys.unraisablehook

    def hook(found: Any) -> None:
        late = isinstance(found.exc_value, RuntimeError) and found.object is None
        if not (late and str(found.exc_value) == "Event loop is closed"):
            before(found)

    sys.unraisablehook = hook


def _newest_undamaged(directory: Path, read: Callable[[Any, int], T]) -> T:
    """What `read` makes of the newest checkpoint that it can read; others are said on stderr."""
    first: Damaged | None = None
    with _opened(directory.absolute()) as checkpointer:
        for step in sorted((int(c.step) for c in checkpointer.checkpoints), reverse=True):
            try:
                found = read(checkpointer, step)
            except Damaged as error:
                first = first or error
                continue
            if first:
                _say_damaged(first, step)
            return found
    raise first or InputError(f"{directory}: no finished checkpoint")


def _say_damaged(error: Damaged, step: int) -> None:
    say(f"{error}; the checkpoint of iteration {step} takes its place", error=True)


def _counters(metadata: dict[str, Any], source: Path) -> Counters:
    try:
        metadata["instances"] = tuple(metadata["instances"])
        return Counters(**metadata)
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{source}: damaged: {as_line(error)}") from None


def _metadata(checkpointer: Any, directory: Path, step: int) -> tuple[dict[str, Any], Spec]:
    """What was stored beside the arrays, and the specification of the game."""
    source = directory / str(step)
    try:
        metadata = dict(checkpointer.metadata(step).custom_metadata or {})
    except Exception as error:  # whatever a damaged file makes the libraries raise
        raise Damaged(f"{source}: damaged: {as_line(error)}") from None
    if SPEC_KEY not in metadata:
        # Orbax reads a damaged file of metadata as an empty one.
        raise Damaged(f"{source}: was made by an older version of this code; train anew")
    try:
        return metadata, spec_from_record(metadata.pop(SPEC_KEY))
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{source}: damaged: {as_line(error)}") from None


def _number_of_instances(checkpointer: Any, directory: Path, step: int) -> int:
    try:
        stored = checkpointer.checkpointables_metadata(step).metadata["agent"]
        return int(stored[BY_INSTANCE].shape[0])
    except Exception as error:  # whatever a damaged file makes the libraries raise
        raise Damaged(f"{directory / str(step)}: damaged: {as_line(error)}") from None


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
        raise Damaged(f"{source}: damaged: {as_line(error)}") from None


def _here(leaf: Any) -> jax.ShapeDtypeStruct:
    """An abstract array on this process's first device, wherever the checkpoint was made."""
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(tuple(leaf.shape), leaf.dtype, sharding=sharding)


def _split(leaves: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    agent = {name: leaf for name, leaf in leaves.items() if name.startswith(AGENT_PARTS)}
    return agent, {name: leaf for name, leaf in leaves.items() if name not in agent}
