"""Simulations per second of the search, and its cost relative to the bare networks.

    python benchmarks/search_speed.py [--width 256] [--batches 64,256] [--simulations 8,32]

Prints one JSON object per line. `bare` makes the same network evaluations without a tree: the root,
then one step of dynamics and prediction for each simulation, each from the one before. `mctx` is
`mctx.gumbel_muzero_policy` with its own defaults and the same networks and depth. All are measured
in turns, so that a slow spell of the machine affects all of them. The median of the repetitions
counts, without compilation.
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
import mctx as _mctx

from agent.config import Config, config_from_record
from agent.networks import Model, decode_value, init_params
from agent.search import learned_model, search
from gamekit.environment import Spec
from gamekit.observation import plain

# Its annotations are chex types, which type checkers do not understand.
mctx: Any = _mctx


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--width", type=int, default=256, help="of latent and hidden layers")
    parser.add_argument("--features", type=int, default=256, help="of an observation")
    parser.add_argument("--batches", default="64,256")
    parser.add_argument("--simulations", default="8,32")
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--repetitions", type=int, default=15)
    options = parser.parse_args()
    for batch in (int(b) for b in options.batches.split(",")):
        for simulations in (int(s) for s in options.simulations.split(",")):
            _measure(options, batch, simulations)


def _measure(options: argparse.Namespace, batch: int, simulations: int) -> None:
    width = {"latent": options.width, "hidden": options.width}
    tree = {"simulations": simulations, "max_depth": options.depth}
    record: dict[str, Any] = {"name": "search_speed", "network": width, "search": tree}
    config = config_from_record(record, "benchmark")
    runs = _runs(config, batch, options.features)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in range(options.repetitions + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            jax.block_until_ready(run(jax.random.key(repetition)))
            if repetition:  # the first one compiles
                times[name].append(time.perf_counter() - started)
    median = {name: statistics.median(values) for name, values in times.items()}
    print(
        json.dumps(
            {
                "benchmark": "search_speed",
                "batch": batch,
                "width": options.width,
                "simulations": simulations,
                "max_depth": options.depth,
                "simulations_per_s": round(batch * simulations / median["search"]),
                "search_over_bare": round(median["search"] / median["bare"], 3),
                "mctx_over_bare": round(median["mctx"] / median["bare"], 3),
                "ms": {name: round(1e3 * value, 3) for name, value in median.items()},
                "best_ms": {name: round(1e3 * min(times[name]), 3) for name in runs},
                "repetitions": options.repetitions,
                "machine": f"{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0]}",
                "versions": {p: importlib.metadata.version(p) for p in ("jax", "mctx")},
            }
        ),
        flush=True,
    )


def _runs(config: Config, batch: int, features: int) -> dict[str, Callable[[jax.Array], Any]]:
    spec = Spec("benchmark", 1, 1, ("copy", "no_copy", "drop"), None, 1, 1, plain(features))
    params = init_params(config.network, spec, jax.random.key(0))
    # The heads of a fresh network are flat; noise makes trees of different shapes.
    params = jax.tree.map(
        lambda x: x + 0.1 * jax.random.normal(jax.random.key(x.size), x.shape), params
    )
    observation = jax.random.normal(jax.random.key(1), (batch, features))
    legal = jax.random.bernoulli(jax.random.key(2), 0.7, (batch, 3)).at[:, 2].set(True)
    tree = learned_model(config, spec)

    def root(params: Any) -> Any:
        model = Model(config.network, spec, params)
        latent = model.represent(observation)
        prediction = model.predict(latent)
        value = decode_value(prediction.value_logits)
        return mctx.RootFnOutput(
            prior_logits=prediction.policy_logits, value=value, embedding=latent
        )

    @jax.jit
    def ours(params: Any, key: jax.Array) -> Any:
        return search(
            params,
            observation,
            legal,
            key,
            config=config,
            spec=spec,
            model=tree,
            typical_advantage=jnp.float32(0.1),
        )

    @jax.jit
    def theirs(params: Any, key: jax.Array) -> Any:
        output = mctx.gumbel_muzero_policy(
            params,
            key,
            root(params),
            tree.recurrent,
            config.search.simulations,
            invalid_actions=~legal,
            max_depth=config.search.max_depth,
        )
        return output.action, output.action_weights

    @jax.jit
    def bare(params: Any, key: jax.Array) -> Any:
        start = root(params)
        actions = jax.random.randint(key, (config.search.simulations, batch), 0, 3)

        def step(latent: jax.Array, action: jax.Array) -> tuple[jax.Array, Any]:
            output, latent = tree.recurrent(params, key, action, latent)
            return latent, output

        return start, jax.lax.scan(step, start.embedding, actions)

    return {
        "search": lambda key: ours(params, key),
        "mctx": lambda key: theirs(params, key),
        "bare": lambda key: bare(params, key),
    }


if __name__ == "__main__":
    main()
