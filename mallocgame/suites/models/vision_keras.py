"""Image classifiers of keras.applications on the JAX backend (extra `suite`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from gamekit.errors import InputError
from mallocgame.suites.models.common import BF16, cross_entropy, ids, not_installed, spec
from mallocgame.xla.workload import Workload

# Pytrees of arrays, or of their shapes.
Tree = Any
RATE = 0.1


def keras_with_jax() -> Any:
    """The keras package on its JAX backend.

    Raises:
      InputError: it is not installed, or runs on another backend.
    """
    os.environ.setdefault("KERAS_BACKEND", "jax")
    try:
        import keras  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise not_installed(error, "keras") from None
    if keras.backend.backend() != "jax":
        raise InputError("KERAS_BACKEND: must be jax, got another backend of keras")
    return keras


@contextmanager
def _dtype_policy(keras: Any, name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build(make: Callable[[Any], Any], policy: str) -> Any:
    """The model that `make(keras)` builds, without weights: its variables have shapes only.

    In a stateless scope keras defers drawing weights, here forever.
    """
    keras = keras_with_jax()
    with keras.StatelessScope(initialize_variables=False), _dtype_policy(keras, policy):
        return make(keras)


def variable_shapes(variables: list[Any]) -> list[jax.ShapeDtypeStruct]:
    """Shapes of a keras model's variables."""
    return [spec(*v.shape, dtype=jnp.dtype(v.dtype)) for v in variables]


def inference_of(model: Any, inputs: Tree, source: str) -> Workload:
    """A keras model applied to inputs of these shapes."""

    def function(trained: Tree, other: Tree, inputs: Tree) -> Tree:
        return model.stateless_call(trained, other, inputs, training=False)[0]

    states = [variable_shapes(model.trainable_variables)]
    states.append(variable_shapes(model.non_trainable_variables))
    return Workload(function, (*states, inputs), source=source)


def training_of(model: Any, inputs: Tree, labels: Tree, source: str) -> Workload:
    """A step of plain gradient descent on class logits; weights and statistics are donated."""

    def step(trained: Tree, other: Tree, inputs: Tree, labels: jax.Array) -> Tree:
        def loss(trained: Tree) -> tuple[jax.Array, Tree]:
            logits, changed = model.stateless_call(trained, other, inputs, training=True)
            return cross_entropy(logits, labels), changed

        (value, changed), gradient = jax.value_and_grad(loss, has_aux=True)(trained)
        trained = jax.tree.map(lambda w, g: w - RATE * g, trained, gradient)
        return trained, changed, value

    states = [variable_shapes(model.trainable_variables)]
    states.append(variable_shapes(model.non_trainable_variables))
    return Workload(step, (*states, inputs, labels), donate=(0, 1), source=source)


def application(model: str, batch: int, size: int = 224, train: bool = False) -> Workload:
    """A model of keras.applications by its name, on images of size x size pixels."""

    def make(keras: Any) -> Any:
        return getattr(keras.applications, model)(
            weights=None,
            classifier_activation=None,
            input_tensor=keras.Input(batch_shape=(batch, size, size, 3)),
        )

    built = build(make, "mixed_bfloat16" if train else "bfloat16")
    source = f"keras.applications.{model}, keras {keras_with_jax().__version__}"
    image = spec(batch, size, size, 3, dtype=jnp.float32 if train else BF16)
    if train:
        return training_of(built, image, ids(batch), source)
    return inference_of(built, image, source)
