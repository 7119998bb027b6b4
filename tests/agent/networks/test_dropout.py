"""Units that are left out while learning, and only then."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from agent.networks import Model
from agent.randomness import keys_of
from tests.support.agent_setup import disturbed, small_config, small_spec

CONFIG, SPEC = small_config().network, small_spec()
PARAMS = disturbed(small_config(), SPEC)
OBSERVATION = jax.random.uniform(jax.random.key(1), (6, SPEC.observation.size))
ACTION = jnp.arange(6) % SPEC.num_actions


@jax.jit
def _looked_ahead(keys: jax.Array) -> jax.Array:
    """Policy logits [B, A] after one action, with half of the units left out."""
    model = Model(CONFIG, SPEC, PARAMS, 0.5, keys)
    count = len(keys)
    latent, _ = model.dynamics(model.represent(OBSERVATION[:count]), ACTION[:count])
    return model.predict(latent).policy_logits


def test_a_sample_loses_units_by_its_own_key():
    numbers = jnp.arange(6)
    key = jax.random.key(0)
    found = _looked_ahead(keys_of(key, numbers))
    np.testing.assert_array_equal(_looked_ahead(keys_of(key, numbers)), found)
    np.testing.assert_allclose(_looked_ahead(keys_of(key, numbers[:2])), found[:2], rtol=1e-4)
    other = _looked_ahead(keys_of(key, numbers + 6))
    assert (jnp.abs(other - found).max(axis=1) > 1e-3).all()


def test_without_keys_nothing_is_left_out():
    model = Model(CONFIG, SPEC, PARAMS)
    plain, _ = model.dynamics(model.represent(OBSERVATION), ACTION)
    none = Model(CONFIG, SPEC, PARAMS, 0.0, keys_of(jax.random.key(0), jnp.arange(6)))
    same, _ = none.dynamics(none.represent(OBSERVATION), ACTION)
    np.testing.assert_allclose(same, plain, rtol=1e-4)
    dropped = Model(CONFIG, SPEC, PARAMS, 0.5, keys_of(jax.random.key(0), jnp.arange(6)))
    other, _ = dropped.dynamics(dropped.represent(OBSERVATION), ACTION)
    assert (jnp.abs(other - plain).max(axis=1) > 1e-3).all()
