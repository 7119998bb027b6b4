"""Graph networks: learned message passing on edges, convolution and attention on nodes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from mallocgame.suites.models.common import (
    BF16,
    Dense,
    LayerNorm,
    cross_entropy,
    ids,
    inference,
    not_installed,
    spec,
    squared_error,
    training,
)
from mallocgame.xla.workload import Workload


class _Mlp(nn.Module):
    """Two hidden layers and a norm."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(2):
            x = nn.relu(Dense(self.width)(x))
        return LayerNorm()(Dense(self.width)(x))


class MeshGraphNet(nn.Module):
    """Nodes [N, 12], edges [E, 7] and their ends [E] to accelerations [N, 3]."""

    steps: int = 5
    width: int = 128

    @nn.compact
    def __call__(
        self, nodes: jax.Array, edges: jax.Array, senders: jax.Array, receivers: jax.Array
    ) -> jax.Array:
        nodes, edges = _Mlp(self.width)(nodes), _Mlp(self.width)(edges)
        for _ in range(self.steps):
            message = jnp.concatenate([edges, nodes[senders], nodes[receivers]], axis=-1)
            edges = edges + _Mlp(self.width)(message)
            total = jax.ops.segment_sum(edges, receivers, nodes.shape[0])
            nodes = nodes + _Mlp(self.width)(jnp.concatenate([nodes, total], axis=-1))
        return Dense(3)(nn.relu(Dense(self.width)(nodes)))


def meshgraphnet(nodes: int, edges: int, steps: int = 5, train: bool = False) -> Workload:
    """Simulation on a mesh: encoding, message passing, decoding."""
    source = "own definition; after Pfaff et al., arXiv 2010.03409"
    inputs = [spec(nodes, 12), spec(edges, 7), ids(edges), ids(edges)]
    model = MeshGraphNet(steps)
    if train:
        return training(model, inputs, spec(nodes, 3), loss=squared_error, source=source)
    return inference(model, *inputs, source=source)


class GraphAttention(nn.Module):
    """Nodes [N, C] and adjacency [N, N] to class logits [N, classes], two attention layers."""

    heads: int = 8
    width: int = 32
    classes: int = 7

    @nn.compact
    def __call__(self, x: jax.Array, adjacent: jax.Array) -> jax.Array:
        x = nn.elu(self._layer(x, adjacent, self.heads, self.width, "hidden"))
        return self._layer(x, adjacent, 1, self.classes, "output")

    def _layer(
        self, x: jax.Array, adjacent: jax.Array, heads: int, width: int, name: str
    ) -> jax.Array:
        x = Dense(heads * width, use_bias=False)(x).reshape(-1, heads, width)
        sent, received = (
            jnp.einsum("nhc,hc->hn", x, self._vectors(f"{name}_{end}", heads, width))
            for end in ("sent", "received")
        )
        scores = (received[:, :, None] + sent[:, None, :]).astype(jnp.float32)
        scores = jnp.where(adjacent > 0, nn.leaky_relu(scores, 0.2), -1e9)
        weights = jax.nn.softmax(scores, axis=-1).astype(x.dtype)
        return jnp.einsum("hij,jhc->ihc", weights, x).reshape(x.shape[0], -1)

    def _vectors(self, name: str, heads: int, width: int) -> jax.Array:
        return self.param(name, nn.initializers.lecun_normal(), (heads, width)).astype(BF16)


def gat(nodes: int = 2708, features: int = 1433, train: bool = False) -> Workload:
    """Graph attention at the size of Cora, with a dense adjacency as is usual on TPUs."""
    source = "own definition; after Velickovic et al., arXiv 1710.10903"
    inputs = [spec(nodes, features), spec(nodes, nodes)]
    if train:
        return training(
            GraphAttention(),
            inputs,
            ids(nodes),
            loss=cross_entropy,
            source=source,
            optimizer="adam",
        )
    return inference(GraphAttention(), *inputs, source=source)


def _jraph() -> Any:
    try:
        import jraph  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise not_installed(error, "jraph") from None
    return jraph


class MoleculeNetwork(nn.Module):
    """Full graph networks over a padded batch of G graphs, with a prediction [G, 128]."""

    steps: int = 3
    width: int = 256

    @nn.compact
    def __call__(
        self,
        nodes: jax.Array,
        edges: jax.Array,
        whole: jax.Array,
        ends: tuple[jax.Array, jax.Array],
        counts: tuple[jax.Array, jax.Array],
    ) -> jax.Array:
        """Maps a batch of graphs to predictions [G, 128].

        nodes [N, 9], edges [E, 3], whole [G, 1], ends [E] twice, counts [G] of nodes and of edges.
        """
        jraph = _jraph()
        update = jraph.concatenated_args(lambda x: _Mlp(self.width)(x))
        graph = jraph.GraphsTuple(
            nodes=Dense(self.width)(nodes),
            edges=Dense(self.width)(edges),
            globals=Dense(self.width)(whole),
            senders=ends[0],
            receivers=ends[1],
            n_node=counts[0],
            n_edge=counts[1],
        )
        for _ in range(self.steps):
            graph = jraph.GraphNetwork(update, update, update)(graph)
        return Dense(128)(graph.globals)


def molecules(graphs: int = 64) -> Workload:
    """jraph's example for molecular property prediction (ogbg-molpcba), padded batches."""
    nodes, edges = 32 * graphs, 64 * graphs
    source = f"jraph {_jraph().__version__}: GraphNetwork, as in its ogbg-molpcba example"
    return inference(
        MoleculeNetwork(),
        spec(nodes, 9),
        spec(edges, 3),
        spec(graphs, 1),
        (ids(edges), ids(edges)),
        (ids(graphs), ids(graphs)),
        source=source,
    )
