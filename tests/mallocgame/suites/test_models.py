"""The lists of the suites, the shapes of every model, and the mathematics of some."""

from __future__ import annotations

import collections
import dataclasses
import importlib
import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

import mallocgame.suites
from gamekit.errors import InputError
from mallocgame.suites.models import language, recurrent, rl, state_space, transformers
from mallocgame.suites.models.attention import Shape
from mallocgame.xla.compile.compiler import Function, lower
from mallocgame.xla.make.build import read_index, read_list
from mallocgame.xla.workload import Workload

FOLDER = Path(mallocgame.suites.__file__).parent
KEYS = {"name", "function", "arguments", "family", "split", "source", "note"}
LIBRARY = {"vision_keras": "keras", "language_hub": "keras_hub", "graph:molecules": "jraph"}


def _entries(suite: str) -> list[dict[str, Any]]:
    return yaml.safe_load((FOLDER / f"{suite}.yaml").read_text())


def _make(entry: dict[str, Any]) -> Workload:
    module, _, name = entry["function"].partition(":")
    return getattr(importlib.import_module(module), name)(**entry["arguments"])


def _need(package: str | None) -> None:
    # Not importorskip: it would import keras before its backend is chosen, and skip in silence.
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


V4 = _entries("tpu_v4")
LATER = _entries("tpu_later")


def test_every_entry_is_complete():
    for entry in V4:
        assert set(entry) == KEYS, entry
    for entry in LATER:
        assert set(entry) == KEYS | {"chip"}, entry
        assert entry["chip"] in ("v5e", "v5p", "v6e", "tpu7x")
    for entry in V4 + LATER:
        assert entry["split"] in ("train", "validation", "test")
        assert entry["source"] and entry["family"]


def test_names_are_unique():
    names = [entry["name"] for entry in V4 + LATER]
    assert len(set(names)) == len(names)
    made = [str((e["function"], e["arguments"])) for e in V4]
    assert len(set(made)) == len(made)


def test_no_family_is_in_two_splits():
    splits = collections.defaultdict(set)
    for entry in V4 + LATER:
        splits[entry["family"]].add(entry["split"])
    assert {family: s for family, s in splits.items() if len(s) > 1} == {}


def test_built_programs_belong_to_their_entries():
    """Otherwise `build-suite` would make them again."""
    for suite in ("tpu_v4", "tpu_later"):
        entries = {e.name: dataclasses.asdict(e) for e in read_list(FOLDER / f"{suite}.yaml")}
        for name, row in read_index(FOLDER / suite)["programs"].items():
            assert row["entry"] == entries[name], name


def test_agent_workloads_are_made_in_a_clone_alone(tmp_path, monkeypatch):
    name = "benchmarks.agent_workloads:muzero"
    assert lower(Function(name, None, {"batch": 1}), tmp_path).source == "agent/networks.py"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"agent_workloads: .*'benchmarks'") as caught:
        lower(Function(name, None, {"batch": 1}), tmp_path)
    assert "\n" not in str(caught.value)


def test_sixty_programs_of_which_most_are_for_training():
    count = collections.Counter(entry["split"] for entry in V4)
    assert len(V4) >= 60
    assert len(LATER) >= 10
    assert 0.55 <= count["train"] / len(V4) <= 0.65
    assert 0.10 <= count["validation"] / len(V4) <= 0.20
    assert 0.20 <= count["test"] / len(V4) <= 0.30


def _check_shapes(entry: dict[str, Any]) -> None:
    workload = _make(entry)
    leaves = jax.tree.leaves(workload.arguments)
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)
    results = jax.tree.leaves(jax.eval_shape(workload.function, *workload.arguments))
    assert results
    # Memory that is given away is only of use to a result of the same shape.
    given = [leaf for k in workload.donate for leaf in jax.tree.leaves(workload.arguments[k])]
    kinds = collections.Counter((leaf.shape, leaf.dtype) for leaf in given)
    assert not kinds - collections.Counter((leaf.shape, leaf.dtype) for leaf in results)
    assert ("train" in entry["name"]) == any(
        leaf.shape == () and leaf.dtype == jnp.float32 for leaf in results
    )


def _library(entry: dict[str, Any]) -> str | None:
    """The package that an entry needs beyond this project's own."""
    return next((LIBRARY[part] for part in LIBRARY if part in entry["function"]), None)


@pytest.mark.parametrize(
    "entry", [e for e in V4 + LATER if not _library(e)], ids=lambda entry: entry["name"]
)
def test_shapes(entry):
    _check_shapes(entry)


@pytest.mark.slow
@pytest.mark.parametrize(
    "entry", [e for e in V4 + LATER if _library(e)], ids=lambda entry: entry["name"]
)
def test_shapes_of_library_models(entry):
    _need(_library(entry))
    _check_shapes(entry)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("alexnet_b1_inference", 61.1),  # torchvision
        ("mixer_b1_inference", 18.5),  # arXiv 2105.01601, table 1
        ("gpt2_prefill_b1", 124.4),  # the released weights
        ("diffusion_b1_inference", 35.7),  # arXiv 2006.11239, appendix B
        ("dit_b2_inference", 33.0),  # arXiv 2212.09748, table 1
        ("clip_b1_inference", 151.3),  # the released weights
    ],
)
def test_parameter_counts_are_the_published_ones(name, millions):
    (entry,) = [e for e in V4 if e["name"] == name]
    size = sum(leaf.size for leaf in jax.tree.leaves(_make(entry).arguments[0]))
    assert size / 1e6 == pytest.approx(millions, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("bert_b1_inference", 109.5),  # the released weights
        ("t5_b1_inference", 60.5),  # the released weights
        ("vgg16_b1_inference", 138.4),  # keras.io/api/applications, as all below
        ("densenet121_b1_inference", 8.1),
        ("nasnetmobile_b1_inference", 5.3),
        ("xception_b4_inference", 22.9),
        ("convnexttiny_b4_inference", 28.6),
    ],
)
def test_parameter_counts_of_library_models(name, millions):
    _need("keras_hub")
    (entry,) = [e for e in V4 if e["name"] == name]
    size = sum(leaf.size for leaf in jax.tree.leaves(_make(entry).arguments[:2]))
    assert size / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize("rotary", [False, True])
def test_decoding_token_by_token_gives_the_logits_of_one_pass(rotary):
    shape = Shape(32, 4, 64, kv_heads=2, causal=True, rotary=rotary, gated=rotary, rms=rotary)
    model = language.Decoder(shape, layers=1, vocabulary=50, length=8)
    tokens = jax.random.randint(jax.random.key(0), (2, 6), 0, 50)
    variables = jax.jit(model.init)(jax.random.key(1), tokens)
    logits, _ = jax.jit(model.apply)(variables, tokens)
    cache = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape.cache(2, 8))
    caches = [cache]
    decode = jax.jit(model.apply)
    for t in range(6):
        step, caches = decode(variables, tokens[:, t : t + 1], caches, t)
        np.testing.assert_allclose(
            np.asarray(step[:, 0], np.float32), np.asarray(logits[:, t], np.float32), atol=0.05
        )


def test_selective_scan_is_the_recurrence():
    key = iter(jax.random.split(jax.random.key(0), 5))
    x, step = (np.asarray(jax.random.uniform(next(key), (2, 5, 3))) for _ in range(2))
    into, out = (np.asarray(jax.random.normal(next(key), (2, 5, 4))) for _ in range(2))
    decay = -np.asarray(jax.random.uniform(next(key), (4, 3)))
    got = np.asarray(state_space.selective_scan(*map(jnp.asarray, (x, step, into, out, decay))))
    for b in range(2):
        state = np.zeros((4, 3))
        for t in range(5):
            for n in range(4):
                for e in range(3):
                    kept = np.exp(step[b, t, e] * decay[n, e]) * state[n, e]
                    state[n, e] = kept + step[b, t, e] * into[b, t, n] * x[b, t, e]
            np.testing.assert_allclose(got[b, t], out[b, t] @ state, rtol=1e-5)


def test_v_trace_is_the_sum_of_its_definition():
    random = np.random.default_rng(0)
    steps = 6
    values = random.normal(size=(steps + 1, 1)).astype(np.float32)
    rewards = random.normal(size=(steps, 1)).astype(np.float32)
    discounts = np.full((steps, 1), 0.9, np.float32)
    ratios = random.uniform(0.2, 2.0, size=(steps, 1)).astype(np.float32)
    targets, _ = rl.v_trace(*map(jnp.asarray, (values, rewards, discounts, ratios)))
    for s in range(steps):
        total, factor = values[s, 0], 1.0
        for t in range(s, steps):
            rho = min(1.0, ratios[t, 0])
            error = rho * (rewards[t, 0] + 0.9 * values[t + 1, 0] - values[t, 0])
            total += factor * error
            factor *= 0.9 * rho
        assert targets[s, 0] == pytest.approx(total, rel=1e-5)


def test_experts_with_room_for_all_are_the_weighted_sum_of_two():
    shape = Shape(8, 1, 16)
    layer = language.Experts(shape, experts=4, capacity_factor=4.0)
    x = jax.random.normal(jax.random.key(0), (1, 6, 8))
    variables = jax.jit(layer.init)(jax.random.key(1), x)
    got = jax.jit(layer.apply)(variables, x)[0]
    x = np.asarray(x)
    params = jax.tree.map(np.asarray, variables["params"])
    gates = np.exp(x[0] @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"])
    gates /= gates.sum(axis=-1, keepdims=True)
    for t in range(6):
        want = np.zeros(8)
        for e in np.argsort(gates[t])[-2:]:
            gate = x[0, t] @ params["gate"][e]
            y = gate / (1 + np.exp(-gate)) * (x[0, t] @ params["up"][e])
            want += gates[t, e] * (y @ params["down"][e])
        np.testing.assert_allclose(got[t], want, atol=2e-2)


def test_linear_recurrence_by_associative_scan_is_the_loop():
    random = np.random.default_rng(0)
    a = random.uniform(-0.7, 0.7, (4, 3)) + 1j * random.uniform(-0.7, 0.7, (4, 3))
    b = random.normal(size=(4, 3)) + 1j * random.normal(size=(4, 3))
    parts = [jnp.asarray(p, jnp.float32) for p in (a.real, a.imag, b.real, b.imag)]
    _, _, real, imag = jax.lax.associative_scan(state_space.compose, tuple(parts), axis=0)
    state = np.zeros(3, complex)
    for t in range(4):
        state = a[t] * state + b[t]
        np.testing.assert_allclose(np.asarray(real[t]) + 1j * np.asarray(imag[t]), state, 1e-4)


def test_a_relative_bias_depends_on_the_distance_alone():
    bias = transformers.RelativeBias(2, both_ways=True)
    table = bias.init_with_output(jax.random.key(0), 5, 9)[0][:, 0]
    assert table.shape == (2, 5, 9)
    np.testing.assert_array_equal(table[:, :-1, :-1], table[:, 1:, 1:])
    later = transformers.RelativeBias(2, both_ways=False)
    variables = later.init(jax.random.key(0), 5, 9)
    whole, row = later.apply(variables, 5, 9), later.apply(variables, 1, 9, 3)
    np.testing.assert_array_equal(np.asarray(whole)[:, :, 3:4], np.asarray(row))


def test_a_recurrent_language_model_sees_only_the_past():
    model = recurrent.LstmLanguageModel(vocabulary=20, width=8, layers=2)
    tokens = jnp.arange(6)[None] % 20
    variables = jax.jit(model.init)(jax.random.key(0), tokens)
    apply = jax.jit(model.apply)
    logits = np.asarray(apply(variables, tokens))
    changed = np.asarray(apply(variables, tokens.at[0, 4].set(17)))
    np.testing.assert_array_equal(logits[:, :4], changed[:, :4])
    assert not np.array_equal(logits[:, 4:], changed[:, 4:])
