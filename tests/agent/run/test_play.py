"""Play by budget, the store of best solutions, demonstrations, fine-tuning."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agent import improve
from agent.config import save_config
from agent.learning.learner import make_iteration
from agent.run.best_store import BestStore
from agent.run.checkpoint import Checkpoints, Counters, load_agent
from agent.run.loaded import untrained
from agent.run.play import _larger, play
from agent.run.shipped import save_shipped
from agent.run.warm_start import Demonstration, best_demonstration, start_from, with_games
from agent.selfplay.best import Best
from gamekit.domain import Instance, Made
from gamekit.errors import InputError
from gamekit.observation import plain
from gamekit.probe import ProbeGame, delayed, together
from mallocgame.domain import DOMAIN
from mallocgame.game.finish import finish_game
from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.program import save_program
from mallocgame.program.mapping import all_slow, load_mapping
from mallocgame.suites import find_programs
from tests.support.agent_setup import one_device, small_config

ROOT = Path(__file__).parents[3]

REAL = "tpu_v4_sample/lstm_scan_v4_64mib"


@pytest.fixture(scope="module")
def instance() -> Instance:
    return DOMAIN.instances([REAL])[0]


def demonstrated(instance: Instance, names: list[str], seconds: float) -> Demonstration | None:
    """The best game in which mappers' mappings of a program are imitated."""
    options = GameConfig()
    games = DOMAIN.demonstrations(instance, options, names, seconds, 0)
    return best_demonstration(DOMAIN.build([instance], options), games)


def test_more_seconds_are_more_rounds_and_never_worse():
    game = together(delayed(30, delay=5))
    config = small_config(search={"simulations": 2, "max_depth": 2})
    agent = untrained(config, game.spec)
    once = play(game, agent, config, 0, jax.random.key(1), games=8)
    longer = play(game, agent, config, 0, jax.random.key(1), games=8, seconds=4.0)
    assert once.rounds == 1 < longer.rounds
    assert once.every.shape == (8,) and longer.every.shape == (8 * longer.rounds,)
    np.testing.assert_array_equal(once.every, longer.every[:8])
    # A fresh agent guesses; leaving the best game at one decision after the other climbs from it.
    assert longer.score == longer.every.max() > once.score + 0.02
    state = game.init(jnp.zeros(1, jnp.int32))
    for move in longer.moves:
        state, _ = game.step(state, jnp.full(1, int(move)))
    assert bool(game.done(state)[0])
    assert float(game.score(state)[0]) == pytest.approx(longer.score)


@pytest.mark.parametrize(("model", "depth"), [("learned", 2), ("game", 3)])
def test_a_larger_search_is_a_deeper_one_only_in_the_game(model: str, depth: int):
    search = small_config(search={"simulations": 2, "max_depth": 2, "model": model}).search
    larger = _larger(search)
    assert (larger.simulations, larger.max_depth) == (8, depth)


def test_the_store_never_takes_a_worse_mapping_or_a_wrong_one(tmp_path, instance):
    slow, good = all_slow(instance.content), instance.reference
    assert good is not None and not verify(instance.content, good)
    store = BestStore(DOMAIN, tmp_path / "best")
    assert store.score(instance) is None
    score = simulate(instance.content, good).saved_fraction
    assert store.offer(instance, Made(slow), 0.0)
    assert store.offer(instance, Made(good), score)
    assert not store.offer(instance, Made(slow), 0.0)
    assert not store.offer(instance, Made(good), score)
    assert BestStore(DOMAIN, tmp_path / "best").score(instance) == score > 0
    wrong = dataclasses.replace(good, residencies=good.residencies * 2)
    with pytest.warns(UserWarning, match="the judge rejects a mapping"):
        assert not store.offer(instance, Made(wrong), score)
    assert load_mapping(store.path(instance), instance.content) == good
    # What is damaged is worth nothing.
    store.path(instance).write_text("{")
    assert store.score(instance) is None
    assert store.offer(instance, Made(slow), 0.0)


def test_a_game_that_its_judge_gives_less_is_said(tmp_path, instance):
    store, slow = BestStore(DOMAIN, tmp_path / "best"), all_slow(instance.content)
    said = "the game says 0.5 and its judge 0; one of them is wrong"
    with pytest.warns(UserWarning, match=said):
        assert store.offer(instance, Made(slow), 0.5)
    # What counts is what the game says of the moves that were made into the solution.
    with pytest.warns(UserWarning, match=said):
        store.offer(instance, Made(slow, score=0.5, backtracks=1), 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.offer(instance, Made(slow, score=0.0, backtracks=1), 0.5)


def test_demonstrations_are_imitated_and_the_best_counts(instance):
    program, game = instance.content, DOMAIN.build([instance], GameConfig())
    found = {
        names: demonstrated(instance, list(names), 0.5)
        for names in (("production",), ("random",), ("random", "production"))
    }
    for shown in found.values():
        assert shown is not None
        made = finish_game(game, program, shown.moves)
        assert made.backups == 0 and made.saved_fraction == pytest.approx(shown.score, abs=1e-6)
        assert verify(program, made.mapping) == []
        assert simulate(program, made.mapping).saved_fraction >= shown.score - 1e-5
    best = max((found["production",], found["random",]), key=lambda f: f.score)  # type: ignore
    assert found["random", "production"].score == best.score  # type: ignore[union-attr]
    said = "demonstrations: must be of production, .*, got 'oracle'"
    with pytest.raises(InputError, match=said):
        DOMAIN.demonstrations(instance, GameConfig(), ["msa", "oracle"], 0.5, 0)


def test_a_demonstration_replaces_only_what_is_worse():
    best = Best(
        score=jnp.array([-jnp.inf, 0.5, 0.1]),
        moves=jnp.ones((3, 4), jnp.int32),
        length=jnp.array([0, 4, 2]),
        answers=jnp.full((3, 5), 1, jnp.int32),
        ended_at=jnp.full(3, -1),
    )
    game = np.array([2, 0, 2], np.int32)
    answers = np.array([-1, 2, 0, 2], np.int32)
    shown = [Demonstration(game, answers, score) for score in (0.3, 0.4)]
    new = with_games(best, [*shown, None])
    assert new.answers[0].tolist() == [-1, 2, 0, 2, -1] and (new.answers[1:] == 1).all()
    np.testing.assert_allclose(new.score, [0.3, 0.5, 0.1])
    assert new.length.tolist() == [3, 4, 2]
    assert new.moves[0, :3].tolist() == [2, 0, 2] and (new.moves[1:] == 1).all()


def fresh_run(folder, game: ProbeGame, **sections):
    """A run with one checkpoint of a fresh state."""
    config = small_config(**sections)
    iteration = make_iteration(config, game, one_device())
    state = iteration.init(game, jax.random.key_data(jax.random.key(9)))
    scale = dataclasses.replace(state.scale, baseline=state.scale.baseline + 0.5)
    state = dataclasses.replace(state, scale=scale, typical_advantage=jnp.float32(0.2))
    folder.mkdir()
    save_config(config, folder / "config.yaml")
    checkpoints = Checkpoints(folder / "checkpoints", game.spec)
    checkpoints.save(1, state, Counters(instances=("a",)))
    checkpoints.close()
    return state


def test_fine_tuning_begins_with_the_networks_and_nothing_else(tmp_path):
    game = together(delayed(5))
    trained = fresh_run(tmp_path / "base", game)
    config = small_config(train={"start_from": str(tmp_path / "base")})
    iteration = make_iteration(config, game, one_device())
    fresh = iteration.init(game, jax.random.key_data(jax.random.key(1)))
    state = start_from(config, game.spec, fresh)
    assert jax.tree.structure(state) == jax.tree.structure(fresh)
    for a, b in zip(*map(jax.tree.leaves, (state.params, trained.params)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(state.typical_advantage) == pytest.approx(0.2)
    assert float(state.scale.baseline[0]) == pytest.approx(0.5)
    for name in ("optimiser", "replay", "lanes", "best", "key"):
        pairs = zip(
            *map(jax.tree.leaves, (getattr(state, name), getattr(fresh, name))), strict=True
        )
        assert all(a is b for a, b in pairs)
    save_shipped(tmp_path / "shipped", load_agent(tmp_path / "base"), {})
    config = small_config(train={"start_from": str(tmp_path / "shipped")})
    pairs = zip(*map(jax.tree.leaves, (start_from(config, game.spec, fresh), state)), strict=True)
    assert all(np.array_equal(jax.device_get(a), jax.device_get(b)) for a, b in pairs)
    _refused(tmp_path, game)


def _refused(tmp_path, game: ProbeGame) -> None:
    for sections, message in (
        ({"network": {"latent": 16}}, r"network\.latent must be as in that run, 32, got 16"),
        ({"train": {"start_from": str(tmp_path / "none")}}, "none: no training run"),
        ({}, "observation must be as in that run, .*'label', .*, got .*name='features', "),
    ):
        train = {"start_from": str(tmp_path / "base")} | sections.get("train", {})
        config = small_config(**(sections | {"train": train}))
        seen = game.spec.observation if sections else plain(game.spec.observation.size)
        spec = dataclasses.replace(game.spec, observation=seen)
        with pytest.raises(InputError, match=message) as caught:
            start_from(config, spec, None)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_programs_of_very_different_length_and_a_run_from_end_to_end(tmp_path, capsys):
    """Demonstrations, the store and play, on two real programs, the long one 25 times as long."""
    names = [REAL, "tpu_v4_sample/gpt2_decode_v4_4mib"]
    instances = DOMAIN.instances(names)
    config = small_config(
        game={"name": "mallocgame"},
        programs=names,
        demonstrations=["production"],
        rollout={"games": 16, "moves": 64, "guided_fraction": 0.3},
        replay={"moves": 512},
        learner={"batch_size": 64, "updates": 4},
        train={"iterations": 6, "checkpoint_every": 3},
    )
    path = tmp_path / "config.yaml"
    save_config(config, path)
    runs = tmp_path / "runs"
    # A process of its own: the number of devices is chosen before JAX is used.
    command = [sys.executable, ROOT / "train.py", "--config", path, "--runs", runs]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    lines = [
        json.loads(line) for line in (runs / "test" / "metrics.jsonl").read_text().splitlines()
    ]
    assert lines[0]["best_saved"] is not None, "the demonstrations are the first best games"
    assert all(b["best_saved"] >= a["best_saved"] for a, b in itertools.pairwise(lines))
    assert np.isfinite(lines[-1]["loss"])
    store = BestStore(DOMAIN, runs / "test" / "best")
    before = [store.score(instance) for instance in instances]
    for instance, score in zip(instances, before, strict=True):
        shown = demonstrated(instance, ["production"], 1.0)
        assert shown is not None and score is not None
        assert score >= shown.score - 1e-5
    capsys.readouterr()
    assert improve.main([str(runs / "test"), "--seconds", "2", "--games", "4"]) == 0
    assert capsys.readouterr().out.count(" rounds of 4 games") == 2
    after = [store.score(instance) for instance in instances]
    assert all(
        a is not None and b is not None and a >= b for a, b in zip(after, before, strict=True)
    )


def test_improving_nothing_is_one_line(tmp_path, capsys):
    assert improve.main([str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err == f"error: {tmp_path}: no training run (it has no config.yaml)\n"
    )


def test_splits_of_a_suite(tmp_path, instance):
    program = instance.content
    for name in ("one", "two", "unlisted"):
        save_program(dataclasses.replace(program, name=name), tmp_path / f"{name}.program.json.gz")
    with pytest.raises(InputError, match=r"the suite has no suite\.json"):
        find_programs([f"{tmp_path}:train"])
    entries = {"one": "train", "two": "test", "three": "train"}
    index = {
        "format": "mallocgame.suite",
        "version": 1,
        "programs": {name: {"entry": {"split": split}} for name, split in entries.items()},
    }
    (tmp_path / "suite.json").write_text(json.dumps(index))
    assert [p.name for p in find_programs([f"{tmp_path}:train"])] == ["one.program.json.gz"]
    assert len(find_programs([str(tmp_path)])) == 3
    with pytest.raises(InputError, match="no such split; the suite has test, train"):
        find_programs([f"{tmp_path}:validation"])
    train = {p.name for p in find_programs(["tpu_v4:train"])}
    test = {p.name for p in find_programs(["tpu_v4:test"])}
    assert train and test and not train & test


def test_an_agent_plays_instances_it_was_not_trained_on():
    config = small_config(search={"simulations": 2, "max_depth": 2})
    game = together(delayed(6))
    agent = untrained(config, game.spec, instances=5)
    played = play(game, agent, config, 0, jax.random.key(0), games=2)
    assert len(played.moves) == 6
