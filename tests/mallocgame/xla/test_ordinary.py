"""Ordinary programs through the whole of it: loaded, mapped, promised, compiled again.

Each stands for something that users met.  They need the compiler, and take a minute or two each.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

import mallocgame
from mallocgame.judge import verify
from mallocgame.suites.models.common import f32, ids, spec
from mallocgame.xla.steer.confirm import PRODUCTION
from tests.support.markers import needs_libtpu

pytestmark = [pytest.mark.slow, needs_libtpu]
MOST_OFF = 0.03


def mapped(function: Any, *shapes: Any, **more: Any) -> mallocgame.Result:
    """What a user does; what is said of the mapping must hold whatever the program is."""
    result = mallocgame.map(mallocgame.load(function, *shapes, **more), budget_s=3)
    assert result.verified and result.confirmation is not None
    said, found = result.promise, result.confirmation
    assert found.cycles <= found.production_cycles
    if said is not None and said.is_clear:
        assert found.gain >= said.gain - said.error
    off = result.problem.latency_error
    assert off is None or abs(off) <= MOST_OFF or "off" in str(result.problem)
    return result


def sharded() -> tuple[Any, ...]:
    mesh = AbstractMesh((4,), ("rows",))
    rows, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("rows", None), ()))
    return (
        jax.ShapeDtypeStruct((512, 512), jnp.float32, sharding=rows),
        jax.ShapeDtypeStruct((512, 512), jnp.float32, sharding=whole),
    )


INT4 = jax.ShapeDtypeStruct((1024, 1024), jnp.int4)
NOTHING = {
    "one of two arguments": (lambda a, b: a, f32(512, 512), f32(512, 512)),
    "an empty array": (lambda x, e, w: jnp.concatenate([x, e]) @ w,
                       f32(256, 512), f32(0, 512), f32(512, 256)),
    "four bits": (lambda x, w: x @ w.astype(jnp.bfloat16), spec(256, 1024), INT4),
    "one of four devices": (lambda x, w: jax.nn.relu(x @ w), *sharded()),
}  # fmt: skip

# A user's own process, which has loaded the compiler's library before and holds its lock.
LOADED = """
import os
os.environ["TPU_SKIP_MDS_QUERY"] = "1"
import jax, jax.numpy as jnp, numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import mallocgame

devices = topologies.get_topology_desc(platform="tpu", topology_name="v4:2x2x1").devices
mesh = Mesh(np.array(devices)[:4], ("rows",))
rows, whole = NamedSharding(mesh, P("rows", None)), NamedSharding(mesh, P())
function = jax.jit(lambda x, w: jnp.tanh(x @ w), in_shardings=(rows, whole), out_shardings=rows)
shape = jax.ShapeDtypeStruct((512, 512), jnp.float32)
print(sorted(v.size_bytes for v in mallocgame.load(function, shape, shape).program.values))
"""


def test_one_of_four_devices_beside_a_library_that_is_loaded_already() -> None:
    """Rows are shared out by the jitted function itself, and nothing waits for its own lock."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == str([2**18, 2**18, 2**20])


@pytest.mark.parametrize("name", NOTHING)
def test_where_nothing_can_be_had_nothing_is_promised(name: str) -> None:
    result = mapped(*NOTHING[name])
    assert result.promise is not None and not result.promise.is_clear
    assert result.confirmation is not None and result.confirmation.what == PRODUCTION
    assert "no gain" in str(result)


def double(x_ref: Any, out_ref: Any) -> None:
    out_ref[...] = 2 * x_ref[...]


def kernel(x: jax.Array, w: jax.Array) -> jax.Array:
    tile = pl.BlockSpec((256, 512), lambda i: (i, 0))
    y = pl.pallas_call(double, grid=(4,), in_specs=[tile], out_specs=tile,
                       out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype))(jnp.tanh(x))  # fmt: skip
    return y @ w


def gathered(nodes: jax.Array, sender: jax.Array, receiver: jax.Array, w: jax.Array) -> jax.Array:
    return jax.ops.segment_sum(jax.nn.relu(nodes[sender] @ w), receiver, nodes.shape[0])


NO_ESTIMATE = {
    "sort": (lambda x: (jnp.sort(x, -1), jax.lax.top_k(x, 8)), f32(128, 2048)),
    "gather and scatter": (gathered, f32(2048, 128), ids(8192), ids(8192), f32(128, 128)),
    "kernel": (kernel, f32(1024, 512), f32(512, 512)),
}


@pytest.mark.parametrize("name", NO_ESTIMATE)
def test_what_has_no_estimate_costs_something_and_is_said(name: str) -> None:
    problem = mapped(*NO_ESTIMATE[name]).problem
    assert "the compiler has no estimate" in str(problem)


def dropped(key: jax.Array, x: jax.Array, up: jax.Array, down: jax.Array) -> jax.Array:
    h = jax.nn.gelu(x @ up)
    return jnp.where(jax.random.bernoulli(key, 0.9, h.shape), h / 0.9, 0) @ down


def adam(ws: Any, first: Any, second: Any, x: jax.Array) -> Any:
    def loss(ws: Any) -> jax.Array:
        return jnp.mean(functools.reduce(lambda h, w: jnp.tanh(h @ w), ws, x) ** 2)

    grads = jax.grad(loss)(ws)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
    second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, second, grads)
    return jax.tree.map(lambda w, m, v: w - m / (jnp.sqrt(v) + 1e-8), ws, first, second), first


def spectrum(x: jax.Array, k: jax.Array) -> jax.Array:
    return jnp.fft.irfft(jnp.fft.rfft(x) * k, n=x.shape[-1])


def attend(x: jax.Array, w: Any) -> jax.Array:
    q, k, v = ((x @ w[n]).reshape(*x.shape[:2], 8, -1) for n in "qkv")
    x = x + jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape) @ w["o"]
    return x + jax.nn.silu(x @ w["up"]) @ w["down"]


LAYER = {**{n: spec(1024, 1024) for n in "qkvo"}, "up": spec(1024, 4096), "down": spec(4096, 1024)}
SOME = {
    "dropout": ((dropped, jax.eval_shape(lambda: jax.random.key(0)), f32(512, 512),
                 f32(512, 2048), f32(2048, 512)), {}),
    "optimizer": ((adam, [f32(512, 512)] * 3, [f32(512, 512)] * 3, [f32(512, 512)] * 3,
                   f32(256, 512)), {"donate": (0, 1, 2)}),
    "Fourier": ((spectrum, f32(128, 2048), jax.ShapeDtypeStruct((1025,), jnp.complex64)), {}),
    "attention on v5e": ((attend, spec(2, 512, 1024), LAYER), {"chip": "v5e"}),
}  # fmt: skip


@pytest.mark.parametrize("name", SOME)
def test_a_clear_promise_is_confirmed(name: str) -> None:
    arguments, more = SOME[name]
    mapped(*arguments, **more)  # checks it


def test_a_real_gain_is_found_and_confirmed() -> None:
    def decode(x: Any, place: Any, caches: Any, layers: Any) -> Any:
        kept = []
        for (keys, values), w in zip(caches, layers, strict=True):
            q, k, v = ((x @ w[n]).reshape(8, 1, 8, 128) for n in "qkv")
            keys = jax.lax.dynamic_update_slice(keys, k, (0, place, 0, 0))
            values = jax.lax.dynamic_update_slice(values, v, (0, place, 0, 0))
            scores = jnp.einsum("bohd,blhd->bhl", q, keys).astype(jnp.float32)
            scores = jnp.where(jnp.arange(2048) <= place, scores, -1e9)
            share = jax.nn.softmax(scores).astype(x.dtype)
            x = x + jnp.einsum("bhl,blhd->bhd", share, values).reshape(x.shape) @ w["o"]
            x = x + jax.nn.silu(x @ w["up"]) @ w["down"]
            kept.append((keys, values))
        return x, kept

    cache = spec(8, 2048, 8, 128)
    shapes = (spec(8, 1024), ids(), [(cache, cache)] * 2, [LAYER] * 2)
    result = mapped(decode, *shapes, donate=(2,))
    assert result.confirmation is not None and result.confirmation.gain > 0.02


def scanned(ws: Any, x: jax.Array) -> Any:
    @jax.checkpoint
    def layer(x: Any, w: Any) -> Any:
        return x + jax.nn.gelu(x @ w["up"]) @ w["down"], None

    return jax.grad(lambda ws: jnp.mean(jax.lax.scan(layer, x, ws)[0].astype(jnp.float32)))(ws)


def test_production_breaks_no_rule_or_it_is_said() -> None:
    layers = {"up": spec(4, 512, 1024), "down": spec(4, 1024, 512)}
    problem = mapped(scanned, layers, spec(1024, 512)).problem
    assert problem.production is not None
    assert not verify(problem.program, problem.production) or "breaks" in str(problem)


def branch(flag: jax.Array, x: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    return jax.lax.cond(flag > 0, lambda: jnp.tanh(x @ a), lambda: jax.nn.relu(x @ b))


def branch_in_a_loop(w: jax.Array, xs: jax.Array, flags: jax.Array) -> Any:
    def body(w: Any, now: Any) -> Any:
        x, flag = now
        return jax.lax.cond(flag, lambda: w - 0.01 * x.T @ (x @ w), lambda: w), (x @ w).sum()

    return jax.lax.scan(body, w, (xs, flags))


def test_branches_come_in() -> None:
    problem = mapped(branch, ids(), f32(256, 512), f32(512, 512), f32(512, 512)).problem
    assert "equally likely" in str(problem)
    assert set(problem.program.provenance["branches"].values()) == {0.5}
    flags = jax.ShapeDtypeStruct((8,), jnp.bool_)
    assert mapped(branch_in_a_loop, f32(256, 256), f32(8, 128, 256), flags).problem.program.loops


def until(a: jax.Array, v: jax.Array) -> jax.Array:
    def step(state: Any) -> Any:
        w = a @ state[0]
        w = w / jnp.linalg.norm(w)
        return w, jnp.abs(w - state[0]).max(), state[2] + 1

    return jax.lax.while_loop(lambda s: (s[1] > 1e-4) & (s[2] < 99), step, (v, jnp.float32(1), 0))[
        0
    ]


def test_a_loop_without_a_count_is_given_one_and_that_is_said() -> None:
    shapes = f32(1024, 1024), f32(1024)
    assumed = mapped(until, *shapes).problem
    assert "taken to run 5 times (trip_count)" in str(assumed)
    given = mallocgame.load(until, *shapes, trip_count=7)
    assert "taken to run 7 times" in str(given) and given.program.loops[0].trip_count == 7


def nested(a: jax.Array, b: jax.Array) -> Any:
    def outer(_: Any, state: Any) -> Any:
        x, y = state
        y = jax.lax.fori_loop(0, 5, lambda _, y: jnp.tanh(y @ x), y)
        return x + y.mean(), y

    return jax.lax.fori_loop(0, 10, outer, (a, b))


def offloaded(ws: jax.Array, x: jax.Array) -> jax.Array:
    policy = jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[], names_which_can_be_offloaded=["kept"],
        offload_src="device", offload_dst="pinned_host",
    )  # fmt: skip

    @functools.partial(jax.checkpoint, policy=policy)
    def layer(x: Any, w: Any) -> Any:
        return jnp.tanh(checkpoint_name(x, "kept") @ w), None

    return jax.grad(lambda ws: jax.lax.scan(layer, x, ws)[0].sum())(ws)


def test_loops_in_loops_and_copies_to_the_host_come_in() -> None:
    assert len(mapped(nested, f32(256, 256), f32(256, 256)).problem.program.loops) == 2
    assert mapped(offloaded, f32(4, 256, 256), f32(512, 256)).problem.program.loops
