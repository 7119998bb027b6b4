"""Where an iteration's time goes: search, learning, the game, anything else.

    python benchmarks/train_speed.py [--config configs/quickstart.yaml] [key.sub=value ...]

Prints one JSON object. Whole iterations are timed with everything that the host does in them. Then,
from the same states and on the same devices, each part is timed alone: the searches of a rollout,
the learner, and the game, which plays the rollout's moves again (step, legal actions, observation,
headroom, restarts). The rest of the iteration is anything else: choosing and recording moves, the
best games, dispatch, metrics. Figures are medians over iterations, without compilation.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from agent.config import Config, load_config
from agent.learning.learner import make_iteration
from agent.learning.state import AXIS
from agent.run.hosts import make_mesh
from agent.search import observe
from gamekit.registry import load_domain


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", default="configs/quickstart.yaml")
    parser.add_argument(
        "--warm-up", type=int, default=20, help="iterations before the first figure"
    )
    parser.add_argument("--iterations", type=int, default=7)
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    options = parser.parse_args()
    config = load_config(options.config, options.overrides)
    mesh = make_mesh(config)
    parts = _measure(config, mesh, options.warm_up, options.iterations)
    total = parts.pop("iteration")
    parts["else"] = total - sum(parts.values())
    moves = config.rollout.games * config.rollout.moves
    print(
        json.dumps(
            {
                "benchmark": "train_speed",
                "config": options.config,
                "overrides": options.overrides,
                "devices": mesh.size,
                "iteration_s": round(total, 4),
                "share": {name: round(value / total, 4) for name, value in parts.items()},
                "moves_per_s": round(moves / total),
                "simulations_per_s": round(moves * config.search.simulations / total),
                "updates_per_s": round(config.learner.updates / total, 2),
                "iterations": options.iterations,
                "machine": f"{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0]}",
                "versions": {p: importlib.metadata.version(p) for p in ("jax", "mctx")},
            }
        )
    )


def _measure(config: Config, mesh: Mesh, warm_up: int, iterations: int) -> dict[str, float]:
    """Median seconds of an iteration and of its parts."""
    domain = load_domain(config.game.name)
    game = domain.build(domain.instances(config.programs), config.game.options)
    iteration = make_iteration(config, game, mesh)
    state = iteration.init(game, jax.random.key_data(jax.random.key(config.seed)))
    count = config.rollout.moves
    play_again = _play_again(mesh, state.lanes)
    times: dict[str, list[float]] = {
        name: [] for name in ("iteration", "search", "learning", "game")
    }
    for number in range(warm_up + iterations):
        lanes = jax.tree.map(jnp.copy, state.lanes)
        began = time.perf_counter()
        state, played = iteration.play(game, state)
        jax.block_until_ready(state)
        middle = time.perf_counter()
        state, learned = iteration.learn(game, state)
        jax.device_get(played | learned)
        np.asarray(state.best.score)
        ended = time.perf_counter()
        if number < warm_up - 1:
            continue
        # The rollout is the newest part of the ring.
        newest = (int(state.replay.cursor) - count) % config.replay.moves
        ring = state.replay.moves
        action, instance = (
            np.asarray(x)[newest : newest + count] for x in (ring.action, ring.instance)
        )
        after = np.concatenate([instance[1:], np.asarray(state.lanes.instance)[None]])
        figures = {
            "iteration": ended - began,
            "search": _seconds(lambda s=state: iteration.search(game, s, count)),
            "learning": ended - middle,
            "game": _seconds(lambda x=(lanes, action, after): play_again(game, *x)),
        }
        if number >= warm_up:  # before that the parts compile
            for name, value in figures.items():
                times[name].append(value)
    return {name: statistics.median(values) for name, values in times.items()}


def _play_again(mesh: Mesh, lanes: Any) -> Callable[..., Any]:
    """A function of game, lanes, actions [T, B] and the instances played after each move [T, B]."""
    games = lanes.instance.shape[0]

    def spec(x: jax.Array) -> P:
        last = x.ndim > 0 and x.shape[-1] == games
        return P(*(None,) * (x.ndim - 1), AXIS) if last else P()

    def play(game: Any, lanes: Any, action: jax.Array, instance: jax.Array) -> Any:
        def step(state: Any, now: tuple[jax.Array, jax.Array]) -> tuple[Any, Any]:
            action, instance = now
            seen = observe(game, state), game.legal_actions(state), game.headroom(state)
            length = game.history(state).length
            state, move = game.step(state, action)
            found = (*seen, *move, game.score(state), length, game.headroom(state))
            return game.reset(state, move.done, instance), found

        return jax.lax.scan(step, lanes.state, (action, instance))[1]

    def sums(*arguments: Any) -> jax.Array:
        # Everything is computed, but only sums are kept.
        found = play(*arguments)
        return sum((jnp.sum(x.astype(jnp.float32)) for x in found), jnp.zeros(()))[None]

    specs = (P(), jax.tree.map(spec, lanes), P(None, AXIS), P(None, AXIS))
    return jax.jit(
        jax.shard_map(sums, mesh=mesh, in_specs=specs, out_specs=P(AXIS), check_vma=False)
    )


def _seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
