"""Makes workloads of Flax modules: inference, or one training step with donated state."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from gamekit.errors import InputError
from mallocgame.xla.workload import Workload

# Pytrees of arrays, or of their shapes.
Tree = Any
Loss = Callable[[Any, Any], jax.Array]

BF16 = jnp.bfloat16
Dense = functools.partial(nn.Dense, dtype=BF16)
Conv = functools.partial(nn.Conv, dtype=BF16)
ConvTranspose = functools.partial(nn.ConvTranspose, dtype=BF16)
Embed = functools.partial(nn.Embed, dtype=BF16)
LayerNorm = functools.partial(nn.LayerNorm, dtype=BF16)
RMSNorm = functools.partial(nn.RMSNorm, dtype=BF16)
GroupNorm = functools.partial(nn.GroupNorm, dtype=BF16)
BatchNorm = functools.partial(nn.BatchNorm, dtype=BF16)


def not_installed(error: ImportError, package: str) -> InputError:
    """What to say where a package of the suite's models, or one that it needs, is missing."""
    return InputError(
        f"{error.name or package}: must be installed: pip install 'mallocgame[suite]'"
    )


def spec(*shape: int, dtype: Any = BF16) -> jax.ShapeDtypeStruct:
    """The shape of an argument."""
    return jax.ShapeDtypeStruct(shape, dtype)


def f32(*shape: int) -> jax.ShapeDtypeStruct:
    """The shape of a float32 argument."""
    return spec(*shape, dtype=jnp.float32)


def ids(*shape: int) -> jax.ShapeDtypeStruct:
    """The shape of an argument of token numbers, labels or positions."""
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def cast(tree: Tree, dtype: Any = BF16) -> Tree:
    """The same shapes, with another type for float32 leaves."""

    def one(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, dtype if leaf.dtype == jnp.float32 else leaf.dtype)

    return jax.tree.map(one, tree)


def variables_of(module: nn.Module, *inputs: Tree, method: str | None = None) -> Tree:
    """Shapes of a module's variables (float32) for inputs of these shapes."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(functools.partial(module.init, method=method), key, *inputs)


def inference(module: nn.Module, *inputs: Tree, source: str, method: str | None = None) -> Workload:
    """`module` applied to `inputs` with bfloat16 variables."""
    variables = cast(variables_of(module, *inputs, method=method))
    function = functools.partial(module.apply, method=method)
    return Workload(function, (variables, *inputs), source=source)


def training(
    module: nn.Module,
    inputs: Sequence[Tree],
    target: Tree,
    *,
    loss: Loss,
    source: str,
    optimizer: str = "sgd",
) -> Workload:
    """One step on float32 variables; parameters, statistics and optimiser state are donated.

    The module's collections other than "params" (running statistics) are updated by the step.
    """
    variables = dict(variables_of(module, *inputs))
    params = variables.pop("params")
    update = {"sgd": optax.sgd(0.1, momentum=0.9), "adam": optax.adam(1e-3)}[optimizer]

    def step(params: Tree, stats: Tree, state: Tree, inputs: Tree, target: Tree) -> Tree:
        def objective(params: Tree) -> tuple[jax.Array, Tree]:
            output, changed = module.apply({"params": params, **stats}, *inputs, mutable=[*stats])
            return loss(output, target), changed

        (value, stats), gradient = jax.value_and_grad(objective, has_aux=True)(params)
        change, state = update.update(gradient, state, params)
        return optax.apply_updates(params, change), stats, state, value

    state = jax.eval_shape(update.init, params)
    arguments = (params, variables, state, tuple(inputs), target)
    return Workload(step, arguments, donate=(0, 1, 2), source=source)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over [...] of logits [..., C] (computed in float32) for labels [...]."""
    logits = logits.astype(jnp.float32)
    picked = jnp.sum(jax.nn.one_hot(labels, logits.shape[-1]) * logits, axis=-1)
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - picked)


def soft_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Mean over [...] of logits [..., C] for distributions [..., C]."""
    return -jnp.mean(jnp.sum(target * jax.nn.log_softmax(logits), axis=-1))


def squared_error(output: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error, in float32."""
    return jnp.mean(jnp.square(output.astype(jnp.float32) - target.astype(jnp.float32)))
