"""The trained agent as a mapper, with a checkpoint of a fresh small one."""

from __future__ import annotations

from pathlib import Path

import pytest

import mallocgame
from agent.run.loaded import Loaded, untrained
from agent.run.shipped import is_shipped, load_shipped, save_shipped
from mallocgame.domain import DOMAIN, MallocGame
from mallocgame.judge import simulate, verify
from mallocgame.mappers.registry import LEARNED, MAPPERS
from tests.support.agent_setup import small_config
from tests.support.evaluations import SAMPLE

INSTANCE = DOMAIN.instances([SAMPLE])[0]
PROBLEM = mallocgame.Problem(INSTANCE.content, INSTANCE.reference)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    search = {"simulations": 2, "max_depth": 1}
    config = small_config(game={"name": "mallocgame"}, search=search)
    spec = DOMAIN.build([INSTANCE], config.game.options).spec
    folder = tmp_path_factory.mktemp("checkpoint")
    save_shipped(folder, Loaded(untrained(config, spec), config, spec), {})
    return folder


def latency(mapping) -> float:
    return simulate(INSTANCE.content, mapping).latency_s


@pytest.mark.slow
def test_the_agent_plays_and_local_search_goes_on(shipped, monkeypatch):
    monkeypatch.setattr(MallocGame, "shipped", shipped)
    played = mallocgame.map(PROBLEM, "agent", budget_s=0)
    assert played.verified and played.decisions > 0 and played.saved > 0.1
    longer = mallocgame.map(PROBLEM, "agent", budget_s=3)
    assert longer.verified and longer.saved >= played.saved and longer.seconds < 8
    polished = mallocgame.map(PROBLEM, "polished", budget_s=2)
    assert polished.verified and polished.saved >= played.saved and polished.decisions > 0
    msa = MAPPERS["msa"](INSTANCE.content, DOMAIN.options(), 0.0, 0).mapping
    assert latency(polished.mapping) <= latency(msa)


def test_without_time_to_compile_it_is_local_search(shipped, monkeypatch):
    monkeypatch.setattr(MallocGame, "shipped", shipped)
    found = mallocgame.map(PROBLEM, "polished", budget_s=0.5)
    assert found.verified and found.saved > 0.2
    assert found.seconds < 5


def test_polishing_is_never_worse_than_its_starts():
    assert INSTANCE.reference is not None and DOMAIN.polish is not None
    made = DOMAIN.polish(INSTANCE, [INSTANCE.reference], 0.0, 0).solution
    assert verify(INSTANCE.content, made) == []
    assert latency(made) <= latency(INSTANCE.reference)


@pytest.mark.parametrize("name", LEARNED)
def test_without_a_checkpoint_one_line_says_how_to_make_one(name, tmp_path, monkeypatch):
    monkeypatch.setattr(MallocGame, "shipped", tmp_path)
    said = f"mapper '{name}': {tmp_path}: has no agent.json; python -m agent.ship runs/NAME "
    with pytest.raises(mallocgame.InputError, match=said) as caught:
        mallocgame.map(PROBLEM, name, budget_s=0)
    assert "\n" not in str(caught.value)


def test_the_packages_own_checkpoint_fits_this_version():
    folder = MallocGame.shipped
    if not is_shipped(folder):
        pytest.skip("the package has none yet")
    loaded = load_shipped(folder)
    built = DOMAIN.build([INSTANCE], loaded.config.game.options)
    assert loaded.spec.observation == built.spec.observation
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6
