"""What the encoder of the rich observation looks at, and presets."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agent.config import config_from_record
from agent.config.presets import PRESETS
from agent.networks import Model, networks
from gamekit.errors import InputError
from mallocgame.game.observe.rich import LAYOUT, TOKEN
from tests.support.agent_setup import small_config

SMALL = PRESETS["small"]


def gradient(**switches: bool) -> np.ndarray:
    """How strongly the latent of random observations depends on each feature, [F]."""
    config = small_config(**(SMALL | {"network": SMALL["network"] | switches})).network
    key = jax.random.key(0)
    observation = jax.random.uniform(key, (8, LAYOUT.size))
    weights = jax.random.normal(key, (config.latent,))

    @jax.jit
    def slopes_of(key: jax.Array) -> jax.Array:
        params = networks.init_params(config, LAYOUT.size, key)
        return jax.grad(lambda x: jnp.sum(Model(config, params).represent(x) @ weights))(
            observation
        )

    slopes = slopes_of(key)
    return np.abs(np.asarray(slopes)).sum(axis=0)


def test_every_feature_is_looked_at():
    assert (gradient() > 0).all()


@pytest.mark.parametrize(
    ("switch", "hidden"),
    [
        ("profile", (LAYOUT.profile, LAYOUT.footprint, LAYOUT.prospects)),
        ("window", (LAYOUT.window,)),
    ],
)
def test_a_switch_hides_its_parts_and_nothing_else(switch, hidden):
    seen = gradient(**{switch: False}) > 0
    expected = np.ones(LAYOUT.size, bool)
    for part in hidden:
        expected[part] = False
    np.testing.assert_array_equal(seen, expected)


def test_the_question_is_told_from_the_other_stops():
    # Two stops exchanged mean something else, the asked one and a coming one above all.
    config = small_config(**SMALL).network
    params = networks.init_params(config, LAYOUT.size, jax.random.key(0))
    observation = jax.random.uniform(jax.random.key(1), (1, LAYOUT.size))
    tokens = observation[:, LAYOUT.window].reshape(1, -1, TOKEN)
    swapped = tokens[:, jnp.array([1, 0, *range(2, tokens.shape[1])])]
    other = observation.at[:, LAYOUT.window].set(swapped.reshape(1, -1))
    latents = Model(config, params).represent(jnp.concatenate([observation, other]))
    assert float(jnp.max(jnp.abs(latents[0] - latents[1]))) > 0.05


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid_and_yield_to_own_keys(preset):
    record = {"name": "a", "preset": preset, "network": {"latent": 48}}
    config = config_from_record(record, "test")
    assert config.network.latent == 48
    assert config.network.hidden == PRESETS[preset]["network"]["hidden"]
    assert (config.game.observation == "rich") == (config.network.encoder == "parts")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"preset": "huge"}, "preset: 'huge' is none of tiny, small, large"),
        ({"network": {"encoder": "parts"}}, "'parts' needs game.observation = 'rich'"),
        ({"network": {"encoder": "x"}}, "network.encoder: 'x' is neither"),
        ({"network": {"width": 30, "heads": 4}}, "network.width: 30 is no multiple"),
        ({"preset": "small", "network": 3}, "network: expected keys and values"),
    ],
)
def test_bad_networks_are_named(record, message):
    with pytest.raises(InputError) as caught:
        config_from_record({"name": "a"} | record, "test")
    assert message in str(caught.value)
