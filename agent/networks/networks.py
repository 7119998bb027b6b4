"""The three networks of MuZero and the categorical coding of values and rewards.

Values are relative to a baseline and in units of their spread
(`agent.networks.value_scale.ValueScale`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from agent.config import NetworkConfig
from agent.networks.encoder import Block, PartsEncoder
from gamekit.environment import Spec

# A nested dictionary of arrays.
Params = Any
VALUE_RANGE = (-1.5, 1.5)
# Rewards are coded as signed square roots: most are a few thousandths of the return, a few large.
REWARD_RANGE = (-1.25, 1.25)


class Prediction(NamedTuple):
    """policy_logits [B, A] (not masked), value_logits [B, N], legal_logits [B, A]."""

    policy_logits: jax.Array
    value_logits: jax.Array
    legal_logits: jax.Array


class _Head(nn.Module):
    """One hidden layer; the last layer starts at zero, so that nothing is believed at first."""

    hidden: int
    outputs: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dropout(self.dropout, deterministic=not self.dropout)(x)
        x = nn.relu(nn.Dense(self.hidden)(x))
        return nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)(x)


class MuZeroNetwork(nn.Module):
    """Representation, dynamics and prediction over a normalised latent of width `latent`.

    spec: of the game; the networks depend on its actions and on the parts of its observation.
    dropout: share of the units left out, which needs random numbers named "dropout"; 0 needs none.
    """

    config: NetworkConfig
    spec: Spec
    dropout: float = 0.0

    def setup(self) -> None:
        c = self.config
        blocks = [Block(c.hidden, self.dropout) for _ in range(c.representation_blocks)]
        is_flat = c.encoder == "flat"
        self.encoder = (
            nn.Sequential([nn.Dense(c.latent), *blocks])
            if is_flat
            else PartsEncoder(c, self.spec.observation, self.dropout)
        )
        self.representation_norm = nn.LayerNorm()
        self.action_embedding = nn.Embed(self.spec.num_actions, c.latent)
        self.transition = nn.Dense(c.latent)
        self.transition_blocks = [Block(c.hidden, self.dropout) for _ in range(c.dynamics_blocks)]
        self.dynamics_norm = nn.LayerNorm()
        self.reward_head = _Head(c.hidden, c.atoms, self.dropout)
        self.policy_head = _Head(c.hidden, self.spec.num_actions, self.dropout)
        self.value_head = _Head(c.hidden, c.atoms, self.dropout)
        self.legal_head = _Head(c.hidden, self.spec.num_actions, self.dropout)

    def represent(self, observation: jax.Array) -> jax.Array:
        """Observation [B, F] to latent [B, D]."""
        # A feature may span decades; large ones must not drown the others.
        squashed = jnp.sign(observation) * jnp.log1p(jnp.abs(observation))
        return self.representation_norm(self.encoder(squashed))

    def dynamics(self, latent: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent [B, D] and action [B] to the next latent [B, D] and reward logits [B, N].

        The reward is read from the next latent, which therefore remembers what was just paid.
        """
        # The product lets an action act on the features of the question that is asked.
        embedded = self.action_embedding(action)
        x = latent + self.transition(jnp.concatenate([latent * embedded, embedded], axis=-1))
        for block in self.transition_blocks:
            x = block(x)
        x = self.dynamics_norm(x)
        return x, self.predict_reward(x)

    def predict_reward(self, latent: jax.Array) -> jax.Array:
        """Latent [B, D] that dynamics has led to, to reward logits [B, N]."""
        return self.reward_head(latent)

    def predict(self, latent: jax.Array) -> Prediction:
        """Latent [B, D] to policy, value and legality."""
        return Prediction(
            self.policy_head(latent), self.value_head(latent), self.legal_head(latent)
        )

    def __call__(self, observation: jax.Array, action: jax.Array) -> Prediction:
        """Touches every parameter; for initialisation only."""
        latent, _ = self.dynamics(self.represent(observation), action)
        return self.predict(latent)


def init_params(config: NetworkConfig, spec: Spec, key: jax.Array) -> Params:
    """Fresh parameters for a game; the key is consumed."""
    observation = jax.ShapeDtypeStruct((1, spec.observation.size), jnp.float32)
    action = jax.ShapeDtypeStruct((1,), jnp.int32)
    # What the networks would answer is not computed.
    return MuZeroNetwork(config, spec).lazy_init(key, observation, action)


class Model(NamedTuple):
    """The networks' functions for given parameters, in the configured precision.

    Whatever they compute in, parameters, latents and all that leaves them is float32.

    dropout: share of the units left out, while learning; keys: [B], by which they are drawn, one
        for each sample of a batch.  A sample loses the same units at every step of an unroll.
    """

    config: NetworkConfig
    spec: Spec
    params: Params
    dropout: float = 0.0
    keys: jax.Array | None = None

    def represent(self, observation: jax.Array) -> jax.Array:
        """See `MuZeroNetwork.represent`."""
        return self._call("represent", observation)

    def dynamics(self, latent: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """See `MuZeroNetwork.dynamics`."""
        return self._call("dynamics", latent, action)

    def predict(self, latent: jax.Array) -> Prediction:
        """See `MuZeroNetwork.predict`."""
        return self._call("predict", latent)

    def predict_reward(self, latent: jax.Array) -> jax.Array:
        """See `MuZeroNetwork.predict_reward`."""
        return self._call("predict_reward", latent)

    def _call(self, method: str, *inputs: jax.Array) -> Any:
        dtype = jnp.dtype(self.config.dtype)
        params, inputs = _cast((self.params, inputs), dtype)
        network = MuZeroNetwork(self.config, self.spec, self.dropout)

        def call(key: jax.Array | None, *inputs: jax.Array) -> Any:
            rngs = None if key is None else {"dropout": key}
            return network.apply(params, *inputs, method=method, rngs=rngs)

        found = call(None, *inputs) if self.keys is None else jax.vmap(call)(self.keys, *inputs)
        return _cast(found, jnp.float32)


def _cast(tree: Any, dtype: Any) -> Any:
    """The same arrays with all floating-point numbers in another precision."""
    return jax.tree.map(
        lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
    )


def encode(x: jax.Array, span: tuple[float, float], atoms: int) -> jax.Array:
    """Codes scalars [...] as histograms [..., N] of a Gaussian around them.

    The width is 0.75 bins ("HL-Gauss", arXiv 2403.03950), which keeps the order of neighbouring
    values visible in the gradient where a two-hot code has a kink.
    """
    low, high = span
    width = (high - low) / (atoms - 1)
    edges = low + width * (jnp.arange(atoms + 1) - 0.5)
    z = (edges - jnp.clip(x, low, high)[..., None]) / (0.75 * width)
    cdf = jax.scipy.special.ndtr(z)
    mass = cdf[..., 1:] - cdf[..., :-1]
    return mass / (cdf[..., -1:] - cdf[..., :1])


def decode(logits: jax.Array, span: tuple[float, float]) -> jax.Array:
    """The mean of a coded scalar, [..., N] to [...]."""
    centers = jnp.linspace(span[0], span[1], logits.shape[-1])
    return jnp.sum(jax.nn.softmax(logits) * centers, axis=-1)


def encode_value(value: jax.Array, atoms: int) -> jax.Array:
    """Value [...] to class probabilities [..., N]."""
    return encode(value, VALUE_RANGE, atoms)


def decode_value(logits: jax.Array) -> jax.Array:
    """Value logits [..., N] to values [...]."""
    return decode(logits, VALUE_RANGE)


def encode_reward(reward: jax.Array, atoms: int) -> jax.Array:
    """Reward [...] to class probabilities [..., N] of its signed square root."""
    return encode(jnp.sign(reward) * jnp.sqrt(jnp.abs(reward)), REWARD_RANGE, atoms)


def decode_reward(logits: jax.Array) -> jax.Array:
    """Reward logits [..., N] to rewards [...]."""
    root = decode(logits, REWARD_RANGE)
    return root * jnp.abs(root)
