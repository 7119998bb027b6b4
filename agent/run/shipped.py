"""A checkpoint that comes with a game: a trained agent alone, in two small files.

`agent.npz` holds the agent's arrays under their paths.  `agent.json` holds the configuration of the
training, the specification of the game, who made it, and the SHA-256 of `agent.npz`, so that two
files of different checkpoints are noticed.  What has one entry an instance is there as its mean.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from agent.config import Config, config_from_record, config_record
from agent.networks import Agent, ValueScale
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
from gamekit.files import read_bytes, write_bytes
from gamekit.jsonfile import Record, read_json, write_json
from gamekit.registry import load_domain

FORMAT, VERSION = "agent.checkpoint", 1
MAX_ARRAY_BYTES = 1 << 30
DESCRIPTION, ARRAYS = "agent.json", "agent.npz"


def is_shipped(folder: Path) -> bool:
    """Whether a folder holds such a checkpoint, and not a training run."""
    return (folder / DESCRIPTION).is_file()


def remedy(folder: Path) -> str:
    """The command that puts a usable checkpoint into a folder."""
    return f"python -m agent.ship runs/NAME {folder} --overwrite puts a new one there"


def save_shipped(folder: Path, loaded: Loaded, provenance: Mapping[str, Any]) -> None:
    """Writes a checkpoint, or replaces the one in the folder.

    Each file is replaced atomically.  The description comes last: if only the first one was
    replaced, the hash tells.

    provenance: who made it, as plain data for JSON.

    Raises:
      InputError: a number is not finite, or the folder cannot be written.
    """
    agent = _of_any_instance(loaded.agent)
    arrays: dict[str, Any] = {name: np.asarray(leaf) for name, leaf in flatten(agent).items()}
    _check_finite(arrays, folder)
    spec = dataclasses.replace(loaded.spec, num_instances=1)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    raw = buffer.getvalue()
    write_bytes(folder / ARRAYS, raw)
    record = {
        "format": FORMAT,
        "version": VERSION,
        "provenance": dict(provenance),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "config": config_record(loaded.config),
        "spec": spec_record(spec),
    }
    write_json(folder / DESCRIPTION, record)


def load_shipped(folder: Path) -> Loaded:
    """Reads a checkpoint of a folder.

    Raises:
      InputError: a file is missing or damaged, an array is not as the configuration has it, or the
        agent has learned another version of the game; says which command makes a new one.
    """
    source = folder / DESCRIPTION
    try:
        record = _record(source)
        config, spec = _config(record), _spec(record)
        domain = load_domain(config.game.name)
        check_version(spec, domain.name, domain.version, source)
        stored = _arrays(folder / ARRAYS, record.string("sha256"))
        abstract = jax.eval_shape(lambda: untrained(config, spec))
        wanted = flatten(abstract)
        check_arrays(wanted, stored, folder / ARRAYS)
        check_no_more(wanted, stored, folder / ARRAYS)
        _check_finite(stored, folder / ARRAYS)
    except InputError as error:
        raise InputError(f"{error}; {remedy(folder)}") from None
    agent = unflatten(abstract, {name: jnp.asarray(array) for name, array in stored.items()})
    return Loaded(agent, config, spec)


def load_either(folder: Path) -> Loaded:
    """The agent of a folder that holds a shipped checkpoint, or of a training run's folder.

    Raises:
      InputError: there is none, or it has learned another version of the game.
    """
    if is_shipped(folder):
        return load_shipped(folder)
    from agent.run.checkpoint import load_agent

    return load_agent(folder)


def load_either_config(folder: Path) -> Config:
    """The configuration of a folder that holds a shipped checkpoint, or of a run's folder.

    Raises:
      InputError: there is none, or it is unusable.
    """
    if is_shipped(folder):
        return _config(_record(folder / DESCRIPTION))
    from agent.run.checkpoint import load_run_config

    return load_run_config(folder)


def _of_any_instance(agent: Agent) -> Agent:
    """The agent with the mean of its scales, as it plays instances that it has not seen."""
    scale = ValueScale(agent.scale.baseline.mean()[None], agent.scale.spread.mean()[None])
    return dataclasses.replace(agent, scale=scale)


def _record(source: Path) -> Record:
    return Record(read_json(source, FORMAT, VERSION), str(source))


def _config(record: Record) -> Config:
    return config_from_record(record.mapping("config"), f"{record.source}: config")


def _spec(record: Record) -> Spec:
    try:
        return spec_from_record(record.mapping("spec"))
    except (KeyError, TypeError, ValueError) as error:
        raise record.error("spec", f"damaged: {as_line(error)}") from None


def _arrays(path: Path, digest: str) -> dict[str, np.ndarray]:
    raw = read_bytes(path)
    if hashlib.sha256(raw).hexdigest() != digest:
        raise InputError(f"{path}: damaged, or of another checkpoint than {DESCRIPTION}")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_ARRAY_BYTES:
            raise InputError(
                f"{path}: must unpack to at most {MAX_ARRAY_BYTES >> 20} MiB, got more"
            )
        with np.load(io.BytesIO(raw), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes the libraries raise
        raise InputError(f"{path}: damaged: {as_line(error)}") from None


def _check_finite(arrays: Mapping[str, np.ndarray], source: Path) -> None:
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"{source}: {name} must be finite numbers, got nan or infinity")
