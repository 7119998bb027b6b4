"""Gathers, scatters, sorts, branches."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.ordinary.listed import ordinary
from mallocgame.suites.models.common import f32, ids, spec


@ordinary("jraph", f32(4096, 128), ids(16384), ids(16384), [f32(256, 128)] * 2, [f32(256, 128)] * 2)
def message_passing(nodes: Any, sender: Any, receiver: Any, on_edges: Any, on_nodes: Any) -> Any:
    """Two rounds of messages along edges."""
    for edge, node in zip(on_edges, on_nodes, strict=True):
        both = jnp.concatenate([nodes[sender], nodes[receiver]], -1)
        sums = jax.ops.segment_sum(jax.nn.relu(both @ edge), receiver, nodes.shape[0])
        nodes = nodes + jax.nn.relu(jnp.concatenate([nodes, sums], -1) @ node)
    return nodes


@ordinary("jraph", f32(2048, 2048), f32(2048, 256), f32(256, 256), f32(256, 64), capacity_mib=8)
def dense_graph(links: Any, nodes: Any, a: Any, b: Any) -> Any:
    """Two graph convolutions with a dense adjacency."""
    links = links / jnp.maximum(links.sum(1, keepdims=True), 1)
    return links @ (jax.nn.relu(links @ (nodes @ a)) @ b)


@ordinary("dlrm", f32(50000, 64), ids(1024, 16), f32(1024, 64), f32(64, 64), f32(1088, 1))
def embedding_bag(table: Any, ids: Any, numbers: Any, bottom: Any, top: Any) -> Any:
    """Looks up embeddings and mixes them with dense features."""
    looked = table[ids].reshape(ids.shape[0], -1)
    return jax.nn.sigmoid(jnp.concatenate([looked, jax.nn.relu(numbers @ bottom)], -1) @ top)


@ordinary("dlrm", f32(50000, 64), ids(4096), f32(4096, 64), donate=(0,))
def table_update(table: Any, ids: Any, grads: Any) -> Any:
    """Scatters gradients into a table."""
    return table.at[ids].add(-0.1 * grads)


@ordinary("flax", spec(1024, 512), f32(512, 8), spec(8, 512, 1024), spec(8, 1024, 512))
def experts(x: Any, router: Any, up: Any, down: Any) -> Any:
    """A mixture of two of eight experts."""
    best, which = jax.lax.top_k(jax.nn.softmax(x.astype(jnp.float32) @ router), 2)
    share = jnp.einsum("tk,tke->te", best, jax.nn.one_hot(which, 8)).astype(x.dtype)
    hidden = jax.nn.silu(jnp.einsum("td,edh->eth", x, up))
    return jnp.einsum("eth,ehd,te->td", hidden, down, share)


@ordinary("jax", f32(128, 4096), f32(4096, 256))
def ranked(x: Any, w: Any) -> Any:
    """Sorts rows and weighs them by rank."""
    order = jnp.argsort(x, -1)
    return jnp.sort(x, -1) @ w, order[:, :16]


@ordinary("optax", f32(1024, 1024), f32(1024, 1024), f32(512, 1024), donate=(0,))
def skipped_step(w: Any, m: Any, x: Any) -> Any:
    """An update that is left out where the gradient is not finite."""
    grad = x.T @ jnp.tanh(x @ w)
    fine = jnp.isfinite(grad).all()
    return jax.lax.cond(fine, lambda: (w - 0.1 * grad, 0.9 * m + grad), lambda: (w, m))


@ordinary("flax", f32(512, 512), f32(12, 128, 512), ids(12), capacity_mib=2)
def switched_scan(w: Any, batches: Any, kinds: Any) -> Any:
    """A loop whose body has three branches."""

    def body(w: Any, now: Any) -> Any:
        x, kind = now
        kinds = (lambda w: w, lambda w: w - 0.01 * x.T @ (x @ w), lambda w: 0.9 * w)
        w = jax.lax.switch(kind, kinds, w)
        return w, jnp.sum(x @ w)

    return jax.lax.scan(body, w, (batches, kinds))


@ordinary("keras", f32(30000, 256), ids(32, 128), f32(256, 512), f32(512, 30000), chip="v5e")
def bag_of_words(table: Any, ids: Any, hidden: Any, out: Any) -> Any:
    """Mean of embeddings to probabilities of words."""
    return jax.nn.log_softmax(jax.nn.relu(table[ids].mean(1) @ hidden) @ out)
