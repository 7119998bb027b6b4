"""Moves per second of the game, beside jumanji's JobShop and BinPack.

    python benchmarks/game_speed.py [--devices 2] [--batches 1,64,1024] [--accesses 200,1000,8000]

Prints one JSON object per line.  Two policies play: one draws uniformly among the legal actions,
one accepts whatever it may; the peers are played at random.  Finished games start again.  All
figures of one run are measured in turns, so that a slow spell of the machine affects all of them.
The best of the repetitions counts, and compilation is reported separately.  With `--devices` the
batch is split over that many devices, for the peers as well.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

REPETITIONS = 3
POLICIES = ("random", "accepts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--batches", default="1,64,1024")
    parser.add_argument("--accesses", default="200,1000,8000")
    parser.add_argument("--peers", default="JobShop-v0,BinPack-v2")
    options = parser.parse_args()
    if jax.config.jax_platforms in (None, "cpu"):
        jax.config.update("jax_num_cpu_devices", options.devices)
    for batch in (int(b) for b in options.batches.split(",")):
        runs: dict[str, tuple[Callable, dict]] = {}
        for accesses in (int(a) for a in options.accesses.split(",")):
            for policy in POLICIES:
                name = f"mallocGame {accesses} accesses, {policy}"
                runs[name] = _game(accesses, batch, options.devices, policy)
        for peer in filter(None, options.peers.split(",")):
            runs[peer] = _peer(peer, batch, options.devices)
        _measure(runs, batch, options.devices)


def _measure(runs: dict[str, tuple[Callable, dict]], batch: int, devices: int) -> None:
    best: dict[str, float] = {}
    compile_s: dict[str, float] = {}
    for name, (run, _) in runs.items():
        started = time.perf_counter()
        run(0)
        compile_s[name] = time.perf_counter() - started
    for repetition in range(REPETITIONS):
        for name, (run, _) in runs.items():
            started = time.perf_counter()
            moves = run(repetition + 1)
            rate = moves / (time.perf_counter() - started)
            best[name] = max(best.get(name, 0.0), rate)
    for name, (_, sizes) in runs.items():
        record = {
            "benchmark": "game_speed",
            "env": name,
            "batch": batch,
            "devices": devices,
            "moves_per_s": round(best[name]),
            "us_per_move": round(1e6 / best[name], 3),
            "first_call_s": round(compile_s[name], 2),
            **sizes,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0]}",
            "versions": {p: importlib.metadata.version(p) for p in ("jax", "numpy")},
        }
        print(json.dumps(record), flush=True)


def _split(function: Callable, devices: int, batch: int) -> Callable:
    """Runs `function(carry, keys)` on each device's share of the batch (batch axes last)."""
    if devices == 1 or batch < devices:
        return jax.jit(function)
    mesh = jax.make_mesh((devices,), ("batch",))
    spec = PartitionSpec("batch")
    return jax.jit(
        jax.shard_map(function, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    )


def _game(accesses: int, batch: int, devices: int, policy: str) -> tuple[Callable, dict]:
    from mallocgame.game.environment import build_game
    from mallocgame.game.options import GameConfig
    from mallocgame.synthetic.random_programs import sized_program

    program = sized_program(np.random.default_rng(0), accesses=accesses)
    game = build_game([program], GameConfig())
    steps = 100

    def rollout(keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Plays from the start; returns moves and rewards of each game of this share."""

        def move(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
            state, count, rewards = carry
            legal = game.legal_actions(state)
            noise = jax.random.uniform(key, legal.shape)
            # The last action declines.
            likes = noise if policy == "random" else -jnp.arange(3) + jnp.zeros_like(noise)
            logits = jnp.where(legal, likes, -jnp.inf)
            count += state.waiting
            state, step = game.step(state, jnp.argmax(logits, axis=-1))
            index = jnp.zeros_like(state.program)
            return (game.reset(state, step.done, index), count, rewards + step.reward), None

        index = jnp.zeros(keys.shape[0], jnp.int32)
        carry = (game.init(index), index, jnp.zeros(keys.shape[0]))
        (_, count, rewards), _ = jax.lax.scan(move, carry, jax.random.split(keys[0], steps))
        return count, rewards

    run = _split(rollout, devices, batch)

    def timed(seed: int) -> int:
        count, rewards = run(jax.random.split(jax.random.key(seed), batch))
        rewards.block_until_ready()
        return int(count.sum())

    sizes = {
        "accesses": len(program.accesses),
        "values": len(program.values),
        "slots": game.slots.shape[2],
        "questions": int(game.num_questions_of[0]),
    }
    return timed, sizes


def _peer(name: str, batch: int, devices: int) -> tuple[Callable, dict]:
    import jumanji
    from jumanji.wrappers import AutoResetWrapper

    env = AutoResetWrapper(jumanji.make(name))
    steps = 100

    def choose(key: jax.Array, mask: jax.Array) -> jax.Array:
        """A uniformly random legal action, with one entry for each of its components."""
        noise = jnp.where(mask, jax.random.uniform(key, mask.shape), -1.0)
        if name.startswith("BinPack"):
            return jnp.stack(jnp.unravel_index(jnp.argmax(noise), mask.shape))
        return jnp.argmax(noise, axis=-1)

    def rollout(keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        state, timestep = jax.vmap(env.reset)(keys)

        def move(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
            state, timestep = carry
            each = jax.random.split(key, keys.shape[0])
            action = jax.vmap(choose)(each, timestep.observation.action_mask)
            state, timestep = jax.vmap(env.step)(state, action.astype(jnp.int32))
            return (state, timestep), timestep.reward

        _, rewards = jax.lax.scan(move, (state, timestep), jax.random.split(keys[0], steps))
        return jnp.full(keys.shape[0], steps, jnp.int32), rewards.sum(axis=0)

    run = _split(rollout, devices, batch)

    def timed(seed: int) -> int:
        count, rewards = run(jax.random.split(jax.random.key(seed), batch))
        rewards.block_until_ready()
        return int(count.sum())

    version: dict[str, Any] = {"jumanji": importlib.metadata.version("jumanji")}
    return timed, version


if __name__ == "__main__":
    main()
