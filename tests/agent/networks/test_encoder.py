"""What the encoder of an observation's parts looks at."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from agent.networks import Model, init_params
from mallocgame.game.observe import rich
from mallocgame.game.observe.rich import SPEC, TOKEN
from tests.support.agent_setup import small_config, small_spec

PARTS = {"network": {"encoder": "parts", "latent": 128, "hidden": 128, "representation_blocks": 2}}
GAME = dataclasses.replace(small_spec(), observation=SPEC)


def test_every_feature_is_looked_at():
    config = small_config(**PARTS).network
    key = jax.random.key(0)
    observation = jax.random.uniform(key, (8, SPEC.size))
    weights = jax.random.normal(key, (config.latent,))

    @jax.jit
    def slopes_of(key: jax.Array) -> jax.Array:
        params = init_params(config, GAME, key)
        return jax.grad(lambda x: jnp.sum(Model(config, GAME, params).represent(x) @ weights))(
            observation
        )

    # How strongly the latent of random observations depends on each feature, [F].
    slopes = np.abs(np.asarray(slopes_of(key))).sum(axis=0)
    assert (slopes > 0).all()


def test_the_question_is_told_from_the_other_stops():
    # Two stops exchanged mean something else, the asked one and a coming one above all.
    config = small_config(**PARTS).network
    params = init_params(config, GAME, jax.random.key(0))
    observation = jax.random.uniform(jax.random.key(1), (1, SPEC.size))
    window = SPEC.slices["window"]
    tokens = observation[:, window].reshape(1, 1 + rich.WINDOW, TOKEN)
    swapped = tokens[:, jnp.array([1, 0, *range(2, tokens.shape[1])])]
    other = observation.at[:, window].set(swapped.reshape(1, -1))
    latents = Model(config, GAME, params).represent(jnp.concatenate([observation, other]))
    assert float(jnp.max(jnp.abs(latents[0] - latents[1]))) > 0.05
