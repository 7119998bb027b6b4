"""From a JAX function of one's own to options for the TPU compiler: docs/walkthrough.md.

pip install 'mallocgame[tpu]'     # compiles for a TPU on any CPU machine
python examples/walkthrough.py --out results/walkthrough --budget 30
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import mallocgame

LAYERS, WIDTH, BATCH, LENGTH = 6, 1024, 4, 512


def network(x: jax.Array, layers: Sequence[dict[str, jax.Array]]) -> jax.Array:
    """A stack of gated perceptrons, [B, L, D] to [B, L, D]: the user's own function."""
    for w in layers:
        h = _normed(x)
        x = x + (jax.nn.silu(h @ w["gate"]) * (h @ w["up"])) @ w["down"]
    return x


def _normed(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-6)


def shapes() -> tuple[Any, ...]:
    """Of the function's arguments; no weights are ever made."""

    def array(*dims: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(dims, jnp.bfloat16)

    layer = {
        "gate": array(WIDTH, 4 * WIDTH),
        "up": array(WIDTH, 4 * WIDTH),
        "down": array(4 * WIDTH, WIDTH),
    }
    return array(BATCH, LENGTH, WIDTH), [layer] * LAYERS


def walk(problem: mallocgame.Problem, out: Path, budget_s: float) -> mallocgame.Result:
    """Maps the program, and writes the report and the compiler's options into a folder."""
    result = mallocgame.map(problem, "local_search", budget_s=budget_s)
    print(problem, result, result.report(out), sep="\n")
    options = out / "compiler_options.json"
    options.write_text(json.dumps(result.compiler_options(), indent=1) + "\n")
    print(options)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the walk-through; a bad input ends with one line on stderr and status 2."""
    parser = argparse.ArgumentParser(
        description="From a JAX function to options for the TPU compiler."
    )
    parser.add_argument("--out", type=Path, default=Path("results/walkthrough"))
    parser.add_argument("--budget", type=float, default=30.0, metavar="S", help="of the search")
    options = parser.parse_args(arguments)
    try:
        problem = mallocgame.load(network, *shapes(), progress=print)
        walk(problem, options.out, options.budget)
    except mallocgame.InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
