"""What playing needs of a training, and what every file that holds it is checked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from agent.config import Config
from agent.networks import Agent, fresh_agent
from gamekit.environment import Spec
from gamekit.errors import InputError
from gamekit.text import one_line

T = TypeVar("T")
# Names of arrays change with the networks that a config asks for, and when this code changes.
OTHER = "it was made by another config or version of this code"


class Loaded(NamedTuple):
    """A trained agent, the configuration of its run, and the specification of its game."""

    agent: Agent
    config: Config
    spec: Spec


def untrained(config: Config, spec: Spec, instances: int = 1) -> Agent:
    """The agent that a run begins with, from the run's seed."""
    key = jax.random.key_data(jax.random.key(config.seed))
    return fresh_agent(config, spec, key, instances)


def check_version(found: Spec, name: str, version: int, source: Path) -> None:
    """Raises InputError if what was stored belongs to another game, or another version of it."""
    if (found.name, found.version) != (name, version):
        raise InputError(
            f"{source}: was trained on version {found.version} of {found.name}, this is version "
            f"{version} of {name}; train anew"
        )


def check_arrays(wanted: Mapping[str, Any], found: Mapping[str, Any], source: Path) -> None:
    """Raises InputError unless all wanted arrays are there, with their shapes and dtypes."""
    for name, leaf in wanted.items():
        if name not in found:
            raise InputError(f"{source}: has no {name}; {OTHER}")
        if tuple(found[name].shape) != leaf.shape or found[name].dtype != leaf.dtype:
            raise InputError(
                f"{source}: {name} must be {leaf.dtype}{list(leaf.shape)}, got "
                f"{found[name].dtype}{list(found[name].shape)}; {OTHER}"
            )


def check_no_more(wanted: Mapping[str, Any], found: Mapping[str, Any], source: Path) -> None:
    """Raises InputError if there are other arrays than those that are wanted."""
    if extra := sorted(set(found) - set(wanted)):
        raise InputError(f"{source}: has {extra[0]} too; {OTHER}")


def flatten(tree: Any) -> dict[str, Any]:
    """Arrays by path; without empty ones, which orbax does not store."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves if leaf.size}


def unflatten(like: T, leaves: Mapping[str, Any]) -> T:
    """What `flatten` was given, with the structure of `like`."""
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    arrays = [
        leaves[jax.tree_util.keystr(path)]
        if leaf.size
        else jnp.zeros(leaf.shape, leaf.dtype, device=leaf.sharding)
        for path, leaf in paths
    ]
    return jax.tree.unflatten(structure, arrays)


def as_line(error: BaseException) -> str:
    """What a library raised, in one line."""
    return one_line(f"{type(error).__name__}: {error}", 200)
