"""What the encoder of an observation's parts looks at."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from agent.networks import Model, init_params
from mallocgame.game.observe.observation import COMING_NAMES, SPEC
from mallocgame.game.observe.static import AHEAD
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


def test_coming_questions_are_told_from_each_other():
    # Two questions exchanged mean something else: the next one has to be told from the others.
    config = small_config(**PARTS).network
    params = init_params(config, GAME, jax.random.key(0))
    observation = jax.random.uniform(jax.random.key(1), (1, SPEC.size))
    coming = SPEC.slices["coming"]
    tokens = observation[:, coming].reshape(1, AHEAD, len(COMING_NAMES))
    swapped = tokens[:, jnp.array([1, 0, *range(2, AHEAD)])]
    other = observation.at[:, coming].set(swapped.reshape(1, -1))
    represent = jax.jit(Model(config, GAME, params).represent)
    latents = represent(jnp.concatenate([observation, other]))
    assert float(jnp.max(jnp.abs(latents[0] - latents[1]))) > 0.05
