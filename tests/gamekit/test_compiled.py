"""A process that compiles a lot forgets some of it before the system refuses more memory."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from gamekit import compiled


@pytest.fixture
def regions(tmp_path, monkeypatch):
    """The system's files: 40 regions are taken; the limit is written by the test."""
    (tmp_path / "maps").write_bytes(b"region\n" * 40)
    monkeypatch.setattr(compiled, "REGIONS", tmp_path / "maps")
    monkeypatch.setattr(compiled, "LIMIT", tmp_path / "limit")
    return tmp_path / "limit"


def traced() -> tuple[jax.stages.Wrapped, list[int]]:
    traces: list[int] = []

    @jax.jit
    def double(x):
        traces.append(1)
        return 2 * x

    return double, traces


@pytest.mark.parametrize(("limit", "forgets"), [(79, True), (80, True), (81, False)])
def test_from_half_of_the_regions_on_all_is_forgotten(regions, limit, forgets):
    regions.write_text(f"{limit}\n")
    double, traces = traced()
    double(jnp.ones(3))
    before = compiled.times_forgotten()
    assert compiled.forget_if_full() is forgets
    assert compiled.times_forgotten() == before + forgets
    assert double(jnp.ones(3)).tolist() == [2, 2, 2]
    assert len(traces) == 1 + forgets


@pytest.mark.parametrize("text", [None, "many\n"])
def test_where_the_system_says_nothing_nothing_is_forgotten(regions, text):
    if text is not None:
        regions.write_text(text)
    assert not compiled.forget_if_full()
