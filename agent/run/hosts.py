"""The devices of a run: those of one process, or of several on one or many machines.

Every process runs the same program with the same configuration; process 0 alone writes the run's
folder, which all of them see.
"""

from __future__ import annotations

import os
import zlib
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh

from agent.config import Config, TrainConfig
from agent.learning.state import AXIS
from gamekit.errors import InputError

T = TypeVar("T")
MAX_CPU_DEVICES = 8


def connect(settings: TrainConfig) -> None:
    """Joins the other processes of the run; must be called before anything touches a device.

    Raises:
      InputError: they cannot be reached.
    """
    if settings.processes == 1:
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # It would catch SIGTERM, and the process would go on.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        if settings.processes:
            jax.distributed.initialize(
                settings.coordinator,
                settings.processes,
                settings.process,
                cluster_detection_method="deactivate",
            )
        else:
            jax.distributed.initialize()
    except Exception as error:  # whatever the runtime makes of an unreachable address
        if not settings.processes and "coordinator_address" in str(error):
            return  # no cluster: this process is alone
        line = " ".join(str(error).split())[:200]
        raise InputError(f"train.coordinator: cannot join the other processes: {line}") from None


def is_first() -> bool:
    """Whether this is the process that writes and reports."""
    return jax.process_index() == 0


def make_mesh(config: Config) -> Mesh:
    """One axis over as many devices of each process as can share games and batch.

    On a CPU host two forced devices use two cores better than one. Must be called before anything
    else touches jax's devices.

    Raises:
      InputError: games or batch cannot be divided among the devices asked for.
    """
    games, batch = config.rollout.games, config.learner.batch_size
    wanted = config.train.devices
    cores = min(len(os.sched_getaffinity(0)), MAX_CPU_DEVICES)
    jax.config.update("jax_num_cpu_devices", wanted or _divisor(cores, games, batch))
    processes, available = jax.process_count(), jax.devices()
    if games % processes or batch % processes:
        raise InputError(
            f"train.processes: {processes} processes cannot share rollout.games = {games} and "
            f"learner.batch_size = {batch}"
        )
    if wanted and (
        wanted % processes or games % wanted or batch % wanted or len(available) < wanted
    ):
        raise InputError(
            f"train.devices: {wanted} devices of {processes} processes cannot share "
            f"rollout.games = {games} and learner.batch_size = {batch} "
            f"({len(available)} available)"
        )
    here = jax.local_device_count()
    count = _divisor(
        wanted // processes if wanted else here, games // processes, batch // processes
    )
    devices = [
        device
        for process in range(processes)
        for device in [d for d in available if d.process_index == process][:count]
    ]
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def _divisor(limit: int, *numbers: int) -> int:
    """The largest number up to `limit` that divides all the others."""
    return max(n for n in range(1, limit + 1) if all(number % n == 0 for number in numbers))


def agree(what: str, trouble: InputError | None) -> None:
    """Makes sure that all processes run the same and that none of them is in trouble.

    what: text that is the same in every process, such as its configuration.

    Raises:
      InputError: in all processes or in none; `trouble` itself in the process that has it.
    """
    if jax.process_count() > 1:
        mine = np.array([zlib.crc32(what.encode()), trouble is not None], np.uint32)
        everyone = np.asarray(multihost_utils.process_allgather(mine))
        if trouble is None and everyone[:, 1].any():
            number = int(everyone[:, 1].argmax())
            raise InputError(f"process {number} cannot start; its own message says why")
        if trouble is None and (everyone[:, 0] != everyone[0, 0]).any():
            raise InputError("the processes of this run have different configurations or programs")
    if trouble is not None:
        raise trouble


def from_first(arrays: T) -> T:
    """The arrays of process 0, which the others may have computed a little differently."""
    return arrays if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(arrays)


def as_first(decision: bool) -> bool:
    """What process 0 decided: clocks differ, and all processes must stop together."""
    if jax.process_count() == 1:
        return decision
    return bool(multihost_utils.broadcast_one_to_all(np.bool_(decision)))
